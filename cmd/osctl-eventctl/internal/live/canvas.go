package live

import (
	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
)

// cell is one cell of the screen. The second half of a wide character is empty.
type cell struct {
	text  string
	style tcell.Style
}

// canvas is a picture that is compared with the one before: tcell takes a cell that was
// cleared and drawn again for one that changed.
type canvas struct {
	width, height int
	cells, before []cell
}

// begin begins a picture of a size, all blank.
func (c *canvas) begin(width, height int) {
	c.before, c.cells = c.cells, c.before
	if width != c.width || height != c.height {
		c.width, c.height = width, height
		c.before, c.cells = nil, make([]cell, width*height)
	}
	if len(c.cells) != width*height {
		c.cells = make([]cell, width*height)
	}
	for i := range c.cells {
		c.cells[i] = cell{" ", tcell.StyleDefault}
	}
}

// put draws text from a place on, as far as there is room in the line.
func (c *canvas) put(x, y int, text string, style tcell.Style) {
	if y < 0 || y >= c.height {
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
		if x < 0 || x+n > c.width {
			return
		}
		c.cells[y*c.width+x] = cell{cluster, style}
		for i := 1; i < n; i++ {
			c.cells[y*c.width+x+i] = cell{"", style}
		}
		x += n
	}
}

// show hands what differs from the picture before to the screen.
func (c *canvas) show(s tcell.Screen) {
	for i, now := range c.cells {
		if now.text != "" && (c.before == nil || c.before[i] != now) {
			s.Put(i%c.width, i/c.width, now.text, now.style)
		}
	}
	s.Show()
}
