package live

import (
	"strings"

	"github.com/rivo/uniseg"
)

// gap is how many cells of the screen lie between two columns.
const gap = 2

// widths returns how wide each column is to be: as its widest cell, and where all
// together are too wide, the widest ones give way.
func widths(columns []string, rows []*entry, room int) []int {
	w := make([]int, len(columns))
	for i, title := range columns {
		w[i] = uniseg.StringWidth(title) + 2 // and the arrow of the sorted one
	}
	for _, row := range rows {
		for i, cell := range row.Cells {
			w[i] = max(w[i], uniseg.StringWidth(cell))
		}
	}
	total := gap * (len(w) - 1)
	for _, n := range w {
		total += n
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
