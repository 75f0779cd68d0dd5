package live

import (
	"math"

	"github.com/gdamore/tcell/v2"

	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// handle handles an event of the terminal. It returns false to end the view.
func (v *View) handle(canvas *screen.Canvas, event tcell.Event) bool {
	switch event := event.(type) {
	case *tcell.EventResize:
		canvas.HandleResize(event)
	case *tcell.EventKey:
		if event.Key() == tcell.KeyCtrlC {
			return false
		}
		if v.filter.Open {
			v.filter.HandleKey(event)
			v.table.Filter(v.filter.Text)
			return true
		}
		_, height := canvas.Size()
		return v.handleKey(event, max(height-firstRow-below, 1))
	case *tcell.EventError:
		return false // the terminal is gone
	}
	return true
}

// handleKey handles a key while no filter is being typed. It returns false to end the view.
func (v *View) handleKey(event *tcell.EventKey, page int) bool {
	switch event.Key() { //nolint:exhaustive // other keys do nothing
	case tcell.KeyUp:
		v.table.Move(-1)
	case tcell.KeyDown:
		v.table.Move(1)
	case tcell.KeyPgUp:
		v.table.Move(-page)
	case tcell.KeyPgDn:
		v.table.Move(page)
	case tcell.KeyHome:
		v.table.selectAt(0)
	case tcell.KeyEnd:
		v.table.selectAt(math.MaxInt)
	case tcell.KeyLeft:
		v.table.Sort(-1)
	case tcell.KeyRight:
		v.table.Sort(1)
	case tcell.KeyEscape:
		v.filter.Text = ""
		v.table.Filter("")
	case tcell.KeyRune:
		return v.handleLetter(event.Rune(), page)
	}
	return true
}

// handleLetter handles a letter, as less(1) and top(1) do.
func (v *View) handleLetter(r rune, page int) bool {
	switch r {
	case 'q':
		return false
	case '/':
		v.filter.Start()
	case 'k':
		v.table.Move(-1)
	case 'j':
		v.table.Move(1)
	case 'b':
		v.table.Move(-page)
	case ' ':
		v.table.Move(page)
	case 'g':
		v.table.selectAt(0)
	case 'G':
		v.table.selectAt(math.MaxInt)
	case '<':
		v.table.Sort(-1)
	case '>', 's':
		v.table.Sort(1)
	case 'r':
		v.table.Reverse()
	}
	return true
}
