package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func rows(pairs ...string) []Row {
	var all []Row
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Row{Key: pairs[i], Cells: pairs[i : i+2]})
	}
	return all
}

// format returns the marks and cells of the shown rows.
func (t *table) format() string {
	var lines []string
	for _, e := range t.shown {
		lines = append(lines, strings.TrimSpace(string(e.mark)+strings.Join(e.Cells, "=")))
	}
	return strings.Join(lines, " ")
}

func expect(t *testing.T, table *table, what, want string) {
	t.Helper()
	if got := table.format(); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestMarks(t *testing.T) {
	table, now := newTable([]string{"ID", "STATE"}), time.Unix(1000, 0)
	table.Set(rows("ct10", "up", "ct9", "up", "ct1", "down"), now)
	expect(t, table, "the first rows", "ct1=down ct9=up ct10=up")
	if next := table.Expire(now); !next.IsZero() {
		t.Error("no row is marked, but a mark expires at", next)
	}
	table.Set(rows("ct9", "down", "ct1", "down", "ct2", "up"), now)
	expect(t, table, "one row added, changed and removed", "ct1=down +ct2=up *ct9=down -ct10=up")
	if all, _ := table.Count(1); all != "3, 2 down, 1 up" {
		t.Errorf("count is %q", all)
	}
	now = now.Add(time.Second)
	table.Set(rows("ct9", "down", "ct1", "up", "ct2", "down"), now)
	expect(t, table, "a second later", "*ct1=up +ct2=down *ct9=down -ct10=up")
	if next := table.Expire(now); !next.Equal(now.Add(markTime - time.Second)) {
		t.Error("the next mark expires at", next)
	}
	table.Expire(now.Add(markTime - time.Second))
	expect(t, table, "the old marks have expired", "*ct1=up +ct2=down ct9=down")
	table.Expire(now.Add(markTime))
	expect(t, table, "all marks have expired", "ct1=up ct2=down ct9=down")
	table.Set(rows("ct1", "up"), now)
	table.Set(rows("ct1", "up", "ct2", "down"), now)
	expect(t, table, "a removed row came back", "ct1=up +ct2=down -ct9=down")
}

func TestSortAndFilter(t *testing.T) {
	table := newTable([]string{"ID", "STATE"})
	table.Set(rows("a", "up", "b", "down", "c", "up", "d", "Down"), time.Unix(0, 0))
	table.Sort(1)
	expect(t, table, "by state", "d=Down b=down a=up c=up")
	table.Reverse()
	expect(t, table, "reversed", "a=up c=up b=down d=Down")
	table.Move(2)
	table.Filter("DOWN")
	expect(t, table, "filtered", "b=down d=Down")
	if table.selected != "b" || table.position != 0 {
		t.Errorf("row %s at %d is selected", table.selected, table.position)
	}
	table.Filter("down d")
	expect(t, table, "two words", "b=down d=Down")
	table.Filter("nothing")
	expect(t, table, "no row", "")
	table.Move(1)
	table.Filter("")
	table.Sort(1)
	table.Reverse()
	expect(t, table, "unfiltered, in the first order", "a=up b=down c=up d=Down")
	for _, move := range []struct{ by, position int }{{100, 3}, {-1, 2}, {-100, 0}} {
		if table.Move(move.by); table.position != move.position {
			t.Errorf("moved by %d to %d, want %d", move.by, table.position, move.position)
		}
	}
}

func TestWidths(t *testing.T) {
	table := newTable([]string{"A", "B"})
	table.Set(rows("x", strings.Repeat("y", 50)), time.Time{})
	if w := widths(table.columns, 0, table.shown, 30); !slices.Equal(w, []int{3, 25}) {
		t.Errorf("widths are %v", w)
	}
	for _, test := range []struct {
		sortBy, room int
		want         string
	}{{0, 57, "[3 50]"}, {1, 56, "[3 50]"}, {1, 53, "[1 50]"}, {1, 52, "[1 49]"}} {
		if w := fmt.Sprint(widths(table.columns, test.sortBy, table.shown, test.room)); w != test.want {
			t.Errorf("widths in %d, sorted by %d, are %s, want %s", test.room, test.sortBy, w, test.want)
		}
	}
	if w := widths(table.columns, 0, table.shown, 0); !slices.Equal(w, []int{1, 1}) {
		t.Errorf("widths in 0 cells are %v", w)
	}
}
