package live

import (
	"strings"

	"github.com/rivo/uniseg"
)

// gap is the space between two columns, in terminal cells.
const gap = 2

// arrow is the width of the arrow behind the title of the sort column.
const arrow = 2

// widths returns the width of each column: that of its widest cell, and of its title with an arrow.
// If the columns do not fit into room, it drops the space for absent arrows first, and then shrinks
// the widest columns.
func widths(columns []string, sortBy int, rows []*entry, room int) []int {
	need := make([]int, len(columns)) // with one arrow
	for i, title := range columns {
		need[i] = uniseg.StringWidth(title)
		if i == sortBy {
			need[i] += arrow
		}
	}
	for _, row := range rows {
		for i, cell := range row.Cells {
			need[i] = max(need[i], uniseg.StringWidth(cell))
		}
	}
	w, total := make([]int, len(columns)), gap*(len(columns)-1)
	for i, title := range columns {
		w[i] = max(need[i], uniseg.StringWidth(title)+arrow)
		total += w[i]
	}
	if total > room {
		w, total = need, gap*(len(columns)-1)
		for _, n := range w {
			total += n
		}
	}
	for total > room {
		widest := 0
		for i := range w {
			if w[i] > w[widest] {
				widest = i
			}
		}
		if w[widest] <= 1 {
			break
		}
		w[widest]--
		total--
	}
	return w
}

// fit pads or cuts text to a width. Cut text ends with an ellipsis.
func fit(text string, width int) string {
	have := uniseg.StringWidth(text)
	if have <= width {
		return text + strings.Repeat(" ", width-have)
	}
	var b strings.Builder
	used, state := 0, -1
	for rest := text; rest != ""; {
		var cluster string
		var n int
		cluster, rest, n, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+n > width-1 {
			break
		}
		b.WriteString(cluster)
		used += n
	}
	if width > 0 {
		b.WriteString("…" + strings.Repeat(" ", width-1-used))
	}
	return b.String()
}
