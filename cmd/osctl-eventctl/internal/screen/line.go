package screen

import (
	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
)

// Line is a line of the screen, texts in their styles. The zero Line is blank.
type Line []span

type span struct {
	text  string
	style tcell.Style
}

// Add adds text, which must be safe for a terminal. The style of the last text extends to the right edge.
func (l Line) Add(text string, style tcell.Style) Line { return append(l, span{text, style}) }

// Draw shows lines from the top of the screen on, and foot at its bottom. Lines without room are cut.
func Draw(terminal tcell.Screen, lines []Line, foot Line) {
	width, height := terminal.Size()
	for y := range height - 1 {
		if y < len(lines) {
			drawLine(terminal, y, width, lines[y])
		} else {
			drawLine(terminal, y, width, nil)
		}
	}
	drawLine(terminal, height-1, width, foot)
	terminal.Show()
}

// drawLine draws one line. It sets each cell once, because tcell sends a cell that has changed meanwhile, even if it
// is the same again in the end. It does not set the second half of a wide character.
func drawLine(terminal tcell.Screen, y, width int, line Line) {
	x, style := 0, tcell.StyleDefault
spans:
	for _, s := range line {
		style = s.style
		for rest, state := s.text, -1; rest != ""; {
			var cluster string
			var n int
			cluster, rest, n, state = uniseg.FirstGraphemeClusterInString(rest, state)
			if x+n > width {
				break spans
			}
			if n > 0 {
				terminal.Put(x, y, cluster, style)
				x += n
			}
		}
	}
	for ; x < width; x++ {
		terminal.Put(x, y, " ", style)
	}
}
