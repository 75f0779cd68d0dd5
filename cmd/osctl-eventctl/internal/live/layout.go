package live

import (
	"strings"

	"github.com/rivo/uniseg"
)

// gap is how many cells of the screen lie between two columns.
const gap = 2

// arrow is how many cells of the screen the mark of the column takes that the table is
// sorted by.
const arrow = 2

// widths returns how wide each column is to be: as its widest cell, and with room for the
// arrow. Where all together are too wide, the room for arrows goes first that are not
// there, and then the widest ones give way.
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

// fit makes text exactly so wide, with an ellipsis where it is cut.
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
