package screen

import (
	"strings"

	"github.com/rivo/uniseg"
)

// Gap stands between two columns.
const Gap = "  "

// Shrink narrows the widest columns until all of them, with the gaps, fit into room. A column keeps at least one cell.
func Shrink(widths []int, room int) {
	for total := TotalWidth(widths); total > room; total-- {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= 1 {
			return
		}
		widths[widest]--
	}
}

// TotalWidth returns the width of columns with their gaps.
func TotalWidth(widths []int) int {
	total := len(Gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	return total
}

// Fit pads or cuts text to a width. Cut text ends with an ellipsis.
func Fit(text string, width int) string {
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

// Scroll returns the first visible row of a table, so that the selected row is visible. top is the first one before,
// and visible the number of rows that fit.
func Scroll(top, selected, visible, rows int) int {
	top = max(min(top, selected), selected-visible+1, 0)
	return max(min(top, rows-visible), 0)
}
