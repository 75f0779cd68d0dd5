package screen

import (
	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
)

// Canvas holds a picture until Show. tcell sends only cells that differ from the last picture, but
// takes a cell that was cleared and drawn again for a different one.
type Canvas struct {
	tcell.Screen

	Width, Height int
	cells         []cell
}

// cell is one cell of the screen. The second half of a wide character has no text.
type cell struct {
	text  string
	style tcell.Style
}

// Begin begins a blank picture.
func (c *Canvas) Begin() {
	width, height := c.Size()
	if width != c.Width || height != c.Height {
		c.Width, c.Height, c.cells = width, height, make([]cell, width*height)
	}
	c.Clear()
}

// HandleResize redraws the whole terminal if its size has changed.
func (c *Canvas) HandleResize(event *tcell.EventResize) {
	// The first event only reports the present size.
	if width, height := event.Size(); c.cells != nil && (width != c.Width || height != c.Height) {
		c.Sync()
	}
}

// Clear makes all cells of the picture blank.
func (c *Canvas) Clear() {
	for i := range c.cells {
		c.cells[i] = cell{" ", tcell.StyleDefault}
	}
}

// SetContent sets a cell.
func (c *Canvas) SetContent(x, y int, first rune, rest []rune, style tcell.Style) {
	if x >= 0 && x < c.Width && y >= 0 && y < c.Height {
		c.cells[y*c.Width+x] = cell{string(first) + string(rest), style}
	}
}

// GetContent returns the content of a cell. It reports each cell as one wide.
func (c *Canvas) GetContent(x, y int) (first rune, rest []rune, style tcell.Style, width int) {
	if x < 0 || x >= c.Width || y < 0 || y >= c.Height || c.cells[y*c.Width+x].text == "" {
		return ' ', nil, tcell.StyleDefault, 1
	}
	at := c.cells[y*c.Width+x]
	runes := []rune(at.text)
	return runes[0], runes[1:], at.style, 1
}

// PutText draws text from a cell on, and cuts it at the end of the line.
func (c *Canvas) PutText(x, y int, text string, style tcell.Style) {
	if y < 0 || y >= c.Height {
		return
	}
	state := -1
	for text != "" {
		var cluster string
		var n int
		cluster, text, n, state = uniseg.FirstGraphemeClusterInString(text, state)
		if n == 0 {
			continue
		}
		if x < 0 || x+n > c.Width {
			return
		}
		c.cells[y*c.Width+x] = cell{cluster, style}
		for i := 1; i < n; i++ {
			c.cells[y*c.Width+x+i] = cell{"", style}
		}
		x += n
	}
}

// Show sends the picture to the terminal.
func (c *Canvas) Show() {
	for i, cell := range c.cells {
		if cell.text != "" {
			c.Put(i%c.Width, i/c.Width, cell.text, cell.style)
		}
	}
	c.Screen.Show()
}
