package top

import (
	"github.com/gdamore/tcell/v2"
)

// diffScreen sends a screen only the cells that differ from the picture before: to tcell a cell that
// was cleared and drawn again is one that changed.
type diffScreen struct {
	tcell.Screen
	width, height int
	now, sent     []cell
}

// cell is one cell of the screen.
type cell struct {
	first rune
	rest  string // what combines with it
	style tcell.Style
}

// begin begins a picture, all blank.
func (d *diffScreen) begin() {
	width, height := d.Size()
	if width != d.width || height != d.height {
		d.width, d.height, d.sent = width, height, nil
		d.now = make([]cell, width*height)
	}
	d.Clear()
}

// Clear makes all cells of the picture blank.
func (d *diffScreen) Clear() {
	for i := range d.now {
		d.now[i] = cell{' ', "", tcell.StyleDefault}
	}
}

// SetContent sets a cell.
func (d *diffScreen) SetContent(x, y int, first rune, rest []rune, style tcell.Style) {
	if x >= 0 && x < d.width && y >= 0 && y < d.height {
		d.now[y*d.width+x] = cell{first, string(rest), style}
	}
}

// GetContent returns what SetContent set. All cells are one wide to it.
func (d *diffScreen) GetContent(x, y int) (first rune, rest []rune, style tcell.Style, width int) {
	if x < 0 || x >= d.width || y < 0 || y >= d.height {
		return ' ', nil, tcell.StyleDefault, 1
	}
	c := d.now[y*d.width+x]
	return c.first, []rune(c.rest), c.style, 1
}

// Show sends what differs.
func (d *diffScreen) Show() {
	for i, c := range d.now {
		if d.sent == nil || d.sent[i] != c {
			d.Put(i%d.width, i/d.width, string(c.first)+c.rest, c.style)
		}
	}
	d.sent = append(d.sent[:0], d.now...)
	d.Screen.Show()
}
