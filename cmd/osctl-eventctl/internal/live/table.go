package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// Row is one row of a table.
type Row struct {
	Key   string   // identifies the row while its cells change
	Cells []string // one for each column, safe for a terminal
}

// CompareRows compares rows by their first cells that differ, and numbers in cells by value.
func CompareRows(a, b Row) int {
	for i := range a.Cells {
		if c := screen.CompareNatural(a.Cells[i], b.Cells[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(a.Key, b.Key)
}

// mark marks a row that changed a moment ago.
type mark rune

const (
	unchanged mark = ' '
	added     mark = '+'
	changed   mark = '*'
	removed   mark = '-' // still shown
)

// markTime is how long a row stays marked, and a removed row shown.
const markTime = 5 * time.Second

// entry is a row and its mark.
type entry struct {
	Row
	mark mark
	at   time.Time // of the mark
}

// table is the state of a live table.
type table struct {
	columns []string
	entries map[string]*entry
	filled  bool // Set was called
	shown   []*entry

	filter   string
	sortBy   int
	reversed bool
	selected string // key
	position int    // index of the selected row in shown
}

// newTable returns an empty table, sorted by its first column.
func newTable(columns []string) *table {
	return &table{columns: columns, entries: map[string]*entry{}}
}

// Set replaces all rows, and marks those that differ. The first call marks nothing.
func (t *table) Set(rows []Row, now time.Time) {
	present := make(map[string]bool, len(rows))
	for _, row := range rows {
		present[row.Key] = true
		e := t.entries[row.Key]
		switch {
		case e == nil:
			t.entries[row.Key] = &entry{Row: row, mark: t.unlessFirst(added), at: now}
		case e.mark == removed:
			*e = entry{Row: row, mark: added, at: now}
		case !slices.Equal(e.Cells, row.Cells):
			m := changed
			if e.mark == added {
				m = added
			}
			*e = entry{Row: row, mark: m, at: now}
		}
	}
	for key, e := range t.entries {
		if !present[key] && e.mark != removed {
			e.mark, e.at = removed, now
		}
	}
	t.filled = true
	t.arrange()
}

func (t *table) unlessFirst(m mark) mark {
	if t.filled {
		return m
	}
	return unchanged
}

// Expire removes marks older than markTime. It returns the time when the next mark expires, zero if
// there is none.
func (t *table) Expire(now time.Time) (next time.Time) {
	expired := false
	for key, e := range t.entries {
		if e.mark == unchanged {
			continue
		}
		expires := e.at.Add(markTime)
		switch {
		case expires.After(now):
			if next.IsZero() || expires.Before(next) {
				next = expires
			}
			continue
		case e.mark == removed:
			delete(t.entries, key)
		default:
			e.mark = unchanged
		}
		expired = true
	}
	if expired {
		t.arrange()
	}
	return next
}

// arrange filters and sorts the rows, and keeps the selected row selected.
func (t *table) arrange() {
	t.shown = t.shown[:0]
	for _, e := range t.entries {
		if t.passes(e) {
			t.shown = append(t.shown, e)
		}
	}
	slices.SortFunc(t.shown, func(a, b *entry) int {
		c := screen.CompareNatural(a.Cells[t.sortBy], b.Cells[t.sortBy])
		if t.reversed {
			c = -c
		}
		if c == 0 {
			c = CompareRows(a.Row, b.Row)
		}
		return c
	})
	if at := slices.IndexFunc(t.shown, func(e *entry) bool { return e.Key == t.selected }); at >= 0 {
		t.position = at
	}
	t.selectAt(t.position)
}

// passes reports whether each word of the filter is in some cell of the row, in any letter case.
func (t *table) passes(e *entry) bool {
	for word := range strings.FieldsSeq(strings.ToLower(t.filter)) {
		if !slices.ContainsFunc(e.Cells, func(cell string) bool { return strings.Contains(strings.ToLower(cell), word) }) {
			return false
		}
	}
	return true
}

// selectAt selects the row at a position, or the row nearest to it.
func (t *table) selectAt(position int) {
	t.position = max(min(position, len(t.shown)-1), 0)
	t.selected = ""
	if len(t.shown) > 0 {
		t.selected = t.shown[t.position].Key
	}
}

// Move moves the selection down by a number of rows, up to the last or first one.
func (t *table) Move(by int) { t.selectAt(t.position + by) }

// Filter shows only rows that contain all words of text.
func (t *table) Filter(text string) {
	t.filter = text
	t.arrange()
}

// Sort sorts by the column that is by columns to the right of the present one.
func (t *table) Sort(by int) {
	t.sortBy = (t.sortBy + by + len(t.columns)) % len(t.columns)
	t.arrange()
}

// Reverse reverses the order.
func (t *table) Reverse() {
	t.reversed = !t.reversed
	t.arrange()
}

// Count counts all rows, and those that pass the filter, by the text in a column.
func (t *table) Count(column int) (all, shown string) {
	every, passing := map[string]int{}, map[string]int{}
	for _, e := range t.entries {
		if e.mark == removed {
			continue
		}
		every[e.Cells[column]]++
		if t.passes(e) {
			passing[e.Cells[column]]++
		}
	}
	return formatCounts(every), formatCounts(passing)
}

// formatCounts formats the total and the counts, the largest first: "5, 3 up, 2 down".
func formatCounts(counts map[string]int) string {
	total := 0
	for _, n := range counts {
		total += n
	}
	var text strings.Builder
	text.WriteString(strconv.Itoa(total))
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		fmt.Fprintf(&text, ", %d %s", counts[name], name)
	}
	return text.String()
}
