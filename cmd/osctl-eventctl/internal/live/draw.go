package live

import (
	"fmt"
	"strings"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

const keysHelp = "↑↓ move  / filter  ←→ sort  r reverse  q quit"

// Lines of the screen that are not rows: title and header above, one below.
const (
	firstRow = 2
	below    = 1
)

// draw draws the title, the table and the bottom line.
func (v *View) draw(canvas *screen.Canvas) {
	canvas.Begin()
	width, height := canvas.Width, canvas.Height
	plain := tcell.StyleDefault
	canvas.PutText(0, 0, fit(v.title(), width), plain)

	rows := max(height-firstRow-below, 0)
	v.scroll(rows)
	visible := v.table.shown[v.top:min(v.top+rows, len(v.table.shown))]
	w := widths(v.Columns, v.table.sortBy, v.table.shown, width-2)
	x := 2
	for i, title := range v.Columns {
		if i == v.table.sortBy {
			title = strings.TrimRight(fit(title, max(min(w[i]-arrow, uniseg.StringWidth(title)), 0)), " ") +
				map[bool]string{false: " ↑", true: " ↓"}[v.table.reversed]
		}
		canvas.PutText(x, 1, fit(title, w[i]), plain.Bold(true))
		x += w[i] + gap
	}
	for y, row := range visible {
		v.drawRow(canvas, firstRow+y, row, w)
	}
	v.drawBottom(canvas, width, height-1)
	canvas.Show()
}

// title returns the number of rows in each state.
func (v *View) title() string {
	all, shown := v.table.Count(v.StateColumn)
	if v.table.filter == "" {
		return v.Title + ": " + all
	}
	return fmt.Sprintf("%s with %q: %s; of %s", v.Title, v.table.filter, shown, all)
}

// scroll keeps the selected row visible.
func (v *View) scroll(rows int) {
	at := v.table.position
	v.top = max(min(v.top, at), at-rows+1, 0)
	v.top = max(min(v.top, len(v.table.shown)-rows), 0)
}

func (v *View) drawRow(canvas *screen.Canvas, y int, row *entry, w []int) {
	style := tcell.StyleDefault
	switch {
	case row.Key == v.table.selected:
		style = style.Reverse(true)
	case row.mark == Removed:
		style = style.Dim(true)
	case row.mark != Unchanged:
		style = style.Bold(true)
	}
	canvas.PutText(0, y, fit("", canvas.Width), style)
	markStyle := map[Mark]terminal.Style{Added: terminal.StyleGood, Changed: terminal.StyleChanging, Removed: terminal.StyleBad}[row.mark]
	canvas.PutText(0, y, string(row.mark), v.colour(style.Bold(true), markStyle))
	x := 2
	for i, cell := range row.Cells {
		cellStyle := style
		if i == v.StateColumn && row.Key != v.table.selected {
			cellStyle = v.colour(style, terminal.StyleOf(cell))
		}
		canvas.PutText(x, y, fit(cell, w[i]), cellStyle)
		x += w[i] + gap
	}
}

// drawBottom draws the prompt of the filter, the problem, or the keys.
func (v *View) drawBottom(canvas *screen.Canvas, width, y int) {
	canvas.HideCursor()
	switch {
	case v.filter.Open:
		prompt := "filter: " + v.filter.Text
		canvas.PutText(0, y, fit(prompt, width), tcell.StyleDefault.Bold(true))
		canvas.ShowCursor(min(uniseg.StringWidth(prompt), width-1), y)
	case v.shown != "":
		canvas.PutText(0, y, fit(v.shown, width), v.colour(tcell.StyleDefault.Bold(true), terminal.StyleBad))
	default:
		canvas.PutText(0, y, fit(keysHelp, width), tcell.StyleDefault.Dim(true))
	}
}

// colour adds the colour of a style if the view has colours.
func (v *View) colour(style tcell.Style, of terminal.Style) tcell.Style {
	if !v.Colour {
		return style
	}
	return style.Foreground(screen.Colour(of))
}
