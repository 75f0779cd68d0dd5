package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func rows(pairs ...string) []Row {
	var made []Row
	for i := 0; i < len(pairs); i += 2 {
		made = append(made, Row{Key: pairs[i], Cells: pairs[i : i+2]})
	}
	return made
}

// looks returns the marks and cells that are shown.
func (t *Table) looks() string {
	var lines []string
	for _, e := range t.shown {
		lines = append(lines, strings.TrimSpace(string(e.mark)+strings.Join(e.Cells, "=")))
	}
	return strings.Join(lines, " ")
}

func want(t *testing.T, table *Table, what, looks string) {
	t.Helper()
	if got := table.looks(); got != looks {
		t.Errorf("%s: %q, want %q", what, got, looks)
	}
}

func TestMarks(t *testing.T) {
	table, now := NewTable([]string{"ID", "STATE"}), time.Unix(1000, 0)
	table.Set(rows("ct10", "up", "ct9", "up", "ct1", "down"), now)
	want(t, table, "the first rows", "ct1=down ct9=up ct10=up")
	if next := table.Expire(now); !next.IsZero() {
		t.Error("nothing is marked, but something expires at", next)
	}
	table.Set(rows("ct9", "down", "ct1", "down", "ct2", "up"), now)
	want(t, table, "one of each", "ct1=down +ct2=up *ct9=down -ct10=up")
	if all, _ := table.Count(1); all != "3, 2 down, 1 up" {
		t.Errorf("count is %q", all)
	}
	now = now.Add(time.Second)
	table.Set(rows("ct9", "down", "ct1", "up", "ct2", "down"), now)
	want(t, table, "a second later", "*ct1=up +ct2=down *ct9=down -ct10=up")
	if next := table.Expire(now); !next.Equal(now.Add(MarkTime - time.Second)) {
		t.Error("the next mark goes at", next)
	}
	table.Expire(now.Add(MarkTime - time.Second))
	want(t, table, "the old marks are over", "*ct1=up +ct2=down ct9=down")
	table.Expire(now.Add(MarkTime))
	want(t, table, "all marks are over", "ct1=up ct2=down ct9=down")
	table.Set(rows("ct1", "up"), now)
	table.Set(rows("ct1", "up", "ct2", "down"), now)
	want(t, table, "one came back", "ct1=up +ct2=down -ct9=down")
}

func TestSortAndFilter(t *testing.T) {
	table := NewTable([]string{"ID", "STATE"})
	table.Set(rows("a", "up", "b", "down", "c", "up", "d", "Down"), time.Unix(0, 0))
	table.Sort(1)
	want(t, table, "by state", "d=Down b=down a=up c=up")
	table.Reverse()
	want(t, table, "reversed", "a=up c=up b=down d=Down")
	table.Move(2)
	table.Filter("DOWN")
	want(t, table, "filtered", "b=down d=Down")
	if table.selected != "b" || table.position != 0 {
		t.Errorf("selected is %s at %d", table.selected, table.position)
	}
	table.Filter("down d")
	want(t, table, "two words", "b=down d=Down")
	table.Filter("nothing")
	want(t, table, "no row", "")
	table.Move(1)
	table.Filter("")
	table.Sort(1)
	table.Reverse()
	want(t, table, "as before", "a=up b=down c=up d=Down")
	for _, move := range []struct{ by, position int }{{100, 3}, {-1, 2}, {-100, 0}} {
		if table.Move(move.by); table.position != move.position {
			t.Errorf("moved by %d to %d, want %d", move.by, table.position, move.position)
		}
	}
}

func TestNatural(t *testing.T) {
	sorted := []string{"", "-", "9", "10", "010", "a", "a2", "a10", "a10b", "b"}
	for i := range sorted {
		for j := range sorted {
			got := CompareNatural(sorted[i], sorted[j])
			if i < j && sorted[j] != "010" && got >= 0 || i == j && got != 0 || got != -CompareNatural(sorted[j], sorted[i]) {
				t.Errorf("%q and %q compare as %d", sorted[i], sorted[j], got)
			}
		}
	}
}

func TestFit(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 5, "abc  "}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"日本語", 5, "日本…"}, {"日本語", 4, "日… "}} {
		if got := fit(test.text, test.width); got != test.want {
			t.Errorf("%q in %d: %q, want %q", test.text, test.width, got, test.want)
		}
	}
	table := NewTable([]string{"A", "B"})
	table.Set(rows("x", strings.Repeat("y", 50)), time.Time{})
	if w := widths(table.columns, 0, table.shown, 30); !slices.Equal(w, []int{3, 25}) {
		t.Errorf("widths %v", w)
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
		t.Errorf("widths without room %v", w)
	}
}
