package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Row is one row of a table.
type Row struct {
	Key   string   // what stays the same while the row changes
	Cells []string // one for each column, safe for a terminal
}

// Mark says what happened to a row a moment ago.
type Mark rune

// The marks.
const (
	Unchanged Mark = ' '
	Added     Mark = '+'
	Changed   Mark = '*'
	Removed   Mark = '-' // it is still shown
)

// MarkTime is how long a row stays marked, and a removed one shown.
const MarkTime = 5 * time.Second

// entry is a row and its mark.
type entry struct {
	Row
	mark Mark
	at   time.Time // of the mark
}

// Table is the state of a live table.
type Table struct {
	columns []string
	entries map[string]*entry
	filled  bool // rows were set once
	shown   []*entry

	filter   string
	sortBy   int
	reversed bool
	selected string // key
	position int    // of the selected row among those shown
}

// NewTable returns an empty table that is sorted by its first column.
func NewTable(columns []string) *Table {
	return &Table{columns: columns, entries: map[string]*entry{}}
}

// Set replaces all rows, and marks those that differ. The first rows are not marked.
func (t *Table) Set(rows []Row, now time.Time) {
	present := make(map[string]bool, len(rows))
	for _, row := range rows {
		present[row.Key] = true
		e := t.entries[row.Key]
		switch {
		case e == nil:
			t.entries[row.Key] = &entry{Row: row, mark: t.unlessFirst(Added), at: now}
		case e.mark == Removed:
			*e = entry{Row: row, mark: Added, at: now}
		case !slices.Equal(e.Cells, row.Cells):
			mark := Changed
			if e.mark == Added {
				mark = Added
			}
			*e = entry{Row: row, mark: mark, at: now}
		}
	}
	for key, e := range t.entries {
		if !present[key] && e.mark != Removed {
			e.mark, e.at = Removed, now
		}
	}
	t.filled = true
	t.arrange()
}

func (t *Table) unlessFirst(mark Mark) Mark {
	if t.filled {
		return mark
	}
	return Unchanged
}

// Expire takes back marks that have stood long enough, and returns when the next one
// will have; zero for none.
func (t *Table) Expire(now time.Time) (next time.Time) {
	changed := false
	for key, e := range t.entries {
		if e.mark == Unchanged {
			continue
		}
		over := e.at.Add(MarkTime)
		switch {
		case over.After(now):
			if next.IsZero() || over.Before(next) {
				next = over
			}
			continue
		case e.mark == Removed:
			delete(t.entries, key)
		default:
			e.mark = Unchanged
		}
		changed = true
	}
	if changed {
		t.arrange()
	}
	return next
}

// arrange filters and sorts, and finds the selected row again.
func (t *Table) arrange() {
	t.shown = t.shown[:0]
	for _, e := range t.entries {
		if t.passes(e) {
			t.shown = append(t.shown, e)
		}
	}
	slices.SortFunc(t.shown, func(a, b *entry) int {
		c := CompareNatural(a.Cells[t.sortBy], b.Cells[t.sortBy])
		if t.reversed {
			c = -c
		}
		for i := 0; c == 0 && i < len(t.columns); i++ {
			c = CompareNatural(a.Cells[i], b.Cells[i])
		}
		return cmp.Or(c, cmp.Compare(a.Key, b.Key))
	})
	if at := slices.IndexFunc(t.shown, func(e *entry) bool { return e.Key == t.selected }); at >= 0 {
		t.position = at
	}
	t.selectAt(t.position)
}

// passes reports whether a row contains each word of the filter in some cell, in any
// letter case.
func (t *Table) passes(e *entry) bool {
	for word := range strings.FieldsSeq(strings.ToLower(t.filter)) {
		if !slices.ContainsFunc(e.Cells, func(cell string) bool { return strings.Contains(strings.ToLower(cell), word) }) {
			return false
		}
	}
	return true
}

// selectAt selects the row at a position, or the nearest one.
func (t *Table) selectAt(position int) {
	t.position = max(min(position, len(t.shown)-1), 0)
	t.selected = ""
	if len(t.shown) > 0 {
		t.selected = t.shown[t.position].Key
	}
}

// Move moves the selection by so many rows, as far as there are any.
func (t *Table) Move(by int) { t.selectAt(t.position + by) }

// Filter shows only rows that contain all words of text.
func (t *Table) Filter(text string) {
	t.filter = text
	t.arrange()
}

// Sort sorts by the column that is so many to the right of the present one.
func (t *Table) Sort(by int) {
	t.sortBy = (t.sortBy + by + len(t.columns)) % len(t.columns)
	t.arrange()
}

// Reverse turns the order round.
func (t *Table) Reverse() {
	t.reversed = !t.reversed
	t.arrange()
}

// Count says how many rows there are, and how many of them pass the filter, each with
// how many have which text in a column.
func (t *Table) Count(column int) (all, shown string) {
	every, passing := map[string]int{}, map[string]int{}
	for _, e := range t.entries {
		if e.mark == Removed {
			continue
		}
		every[e.Cells[column]]++
		if t.passes(e) {
			passing[e.Cells[column]]++
		}
	}
	return tally(every), tally(passing)
}

// tally writes counts, the largest first: "5, 3 up, 2 down".
func tally(counts map[string]int) string {
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

// Rows returns the rows that are shown, in their order.
func (t *Table) Rows() []Row {
	rows := make([]Row, len(t.shown))
	for i, e := range t.shown {
		rows[i] = e.Row
	}
	return rows
}
