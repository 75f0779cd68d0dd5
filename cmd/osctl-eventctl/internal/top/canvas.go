package top

import (
	"github.com/gdamore/tcell/v2"
)

// canvas holds a picture until it is whole, so that tcell sends only the cells that differ from the picture before:
// to tcell a cell that was cleared and drawn again is one that changed.
type canvas struct {
	tcell.Screen
	width, height int
	cells         []cell
}

// cell is one cell of the screen.
type cell struct {
	first rune
	rest  string // what combines with it
	style tcell.Style
}

// begin begins a picture, all blank.
func (c *canvas) begin() {
	width, height := c.Size()
	if width != c.width || height != c.height {
		c.width, c.height, c.cells = width, height, make([]cell, width*height)
	}
	c.Clear()
}

// Clear makes all cells of the picture blank.
func (c *canvas) Clear() {
	for i := range c.cells {
		c.cells[i] = cell{' ', "", tcell.StyleDefault}
	}
}

// SetContent sets a cell.
func (c *canvas) SetContent(x, y int, first rune, rest []rune, style tcell.Style) {
	if x >= 0 && x < c.width && y >= 0 && y < c.height {
		c.cells[y*c.width+x] = cell{first, string(rest), style}
	}
}

// GetContent returns what SetContent set. All cells are one wide to it.
func (c *canvas) GetContent(x, y int) (first rune, rest []rune, style tcell.Style, width int) {
	if x < 0 || x >= c.width || y < 0 || y >= c.height {
		return ' ', nil, tcell.StyleDefault, 1
	}
	at := c.cells[y*c.width+x]
	return at.first, []rune(at.rest), at.style, 1
}

// Show hands the picture to tcell.
func (c *canvas) Show() {
	for i, cell := range c.cells {
		c.Put(i%c.width, i/c.width, string(cell.first)+cell.rest, cell.style)
	}
	c.Screen.Show()
}
