package live

import (
	"math"
	"unicode"

	"github.com/gdamore/tcell/v2"
)

// maxFilter is how long a filter may be, in characters.
const maxFilter = 200

// handle takes an event of the terminal, and reports whether to go on.
func (v *View) handle(screen tcell.Screen, event tcell.Event) bool {
	switch event := event.(type) {
	case *tcell.EventResize:
		// The first one comes when nothing has changed yet.
		if width, height := event.Size(); v.canvas.cells != nil && (width != v.canvas.width || height != v.canvas.height) {
			v.canvas = canvas{}
			screen.Sync()
		}
	case *tcell.EventKey:
		if v.typing {
			return v.typed(event)
		}
		_, height := screen.Size()
		return v.key(event, max(height-firstRow-below, 1))
	case *tcell.EventError:
		return false // the terminal is gone
	}
	return true
}

// key takes a key while no filter is being typed.
func (v *View) key(event *tcell.EventKey, page int) bool {
	switch event.Key() { //nolint:exhaustive // other keys mean nothing here
	case tcell.KeyCtrlC:
		return false
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
		v.table.Filter("")
	case tcell.KeyRune:
		return v.letter(event.Rune(), page)
	}
	return true
}

// letter takes a letter: those of less(1) and top(1).
func (v *View) letter(r rune, page int) bool {
	switch r {
	case 'q':
		return false
	case '/':
		v.typing, v.before = true, v.table.filter
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

// typed takes a key while the filter is being typed: it works at once, Enter keeps it,
// Esc brings the one before back.
func (v *View) typed(event *tcell.EventKey) bool {
	text := []rune(v.table.filter)
	switch event.Key() { //nolint:exhaustive // other keys mean nothing here
	case tcell.KeyCtrlC:
		return false
	case tcell.KeyEnter:
		v.typing = false
		return true
	case tcell.KeyEscape:
		v.typing = false
		text = []rune(v.before)
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		text = text[:max(len(text)-1, 0)]
	case tcell.KeyCtrlU:
		text = nil
	case tcell.KeyRune:
		if unicode.IsPrint(event.Rune()) && len(text) < maxFilter {
			text = append(text, event.Rune())
		}
	default:
		return true
	}
	v.table.Filter(string(text))
	return true
}
