package live

import (
	"fmt"
	"strings"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
)

// Tone is how a cell is coloured.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Bad
	Pass
)

const keysHelp = "↑↓ move  / filter  ←→ sort  r reverse  q quit"

// Lines of the screen that are not rows: title and header above, one below.
const (
	firstRow = 2
	below    = 1
)

// draw draws the table. Only what differs goes to the terminal.
func (v *View) draw(s tcell.Screen) {
	width, height := s.Size()
	v.canvas.begin(width, height)
	plain := tcell.StyleDefault
	v.canvas.put(0, 0, fit(v.title(), width), plain)

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
		v.canvas.put(x, 1, fit(title, w[i]), plain.Bold(true))
		x += w[i] + gap
	}
	for y, row := range visible {
		v.drawRow(firstRow+y, width, row, w)
	}
	v.drawBottom(s, width, height-1)
	v.canvas.show(s)
}

// title says how many rows there are, in which states.
func (v *View) title() string {
	all, shown := v.table.Count(v.ToneColumn)
	if v.table.filter == "" {
		return v.Title + ": " + all
	}
	return fmt.Sprintf("%s with %q: %s; of %s", v.Title, v.table.filter, shown, all)
}

// scroll keeps the selected row among those that are visible.
func (v *View) scroll(rows int) {
	at := v.table.position
	v.top = max(min(v.top, at), at-rows+1, 0)
	v.top = max(min(v.top, len(v.table.shown)-rows), 0)
}

func (v *View) drawRow(y, width int, row *entry, w []int) {
	style := tcell.StyleDefault
	switch {
	case row.Key == v.table.selected:
		style = style.Reverse(true)
	case row.mark == Removed:
		style = style.Dim(true)
	case row.mark != Unchanged:
		style = style.Bold(true)
	}
	v.canvas.put(0, y, fit("", width), style)
	v.canvas.put(0, y, string(row.mark), v.colour(style.Bold(true), map[Mark]Tone{Added: Good, Changed: Pass, Removed: Bad}[row.mark]))
	x := 2
	for i, cell := range row.Cells {
		tone := Plain
		if i == v.ToneColumn && row.Key != v.table.selected {
			tone = v.Tone(cell)
		}
		v.canvas.put(x, y, fit(cell, w[i]), v.colour(style, tone))
		x += w[i] + gap
	}
}

// drawBottom draws the prompt of the filter, what is wrong, or the keys.
func (v *View) drawBottom(s tcell.Screen, width, y int) {
	s.HideCursor()
	switch {
	case v.typing:
		prompt := "filter: " + v.table.filter
		v.canvas.put(0, y, fit(prompt, width), tcell.StyleDefault.Bold(true))
		s.ShowCursor(min(len([]rune(prompt)), width-1), y)
	case v.trouble != "":
		v.canvas.put(0, y, fit(v.trouble, width), v.colour(tcell.StyleDefault.Bold(true), Bad))
	default:
		v.canvas.put(0, y, fit(keysHelp, width), tcell.StyleDefault.Dim(true))
	}
}

// colour adds the colour of a tone, unless colours are not wanted.
func (v *View) colour(style tcell.Style, tone Tone) tcell.Style {
	if !v.Colour {
		return style
	}
	switch tone {
	case Good:
		return style.Foreground(tcell.ColorGreen)
	case Bad:
		return style.Foreground(tcell.ColorMaroon) // the terminal's red
	case Pass:
		return style.Foreground(tcell.ColorOlive) // the terminal's yellow
	case Plain:
	}
	return style
}
