package top

import (
	"context"
	"fmt"
	"unicode"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"
)

// maxFilter is how long a filter may be, in characters.
const maxFilter = 200

// handle takes an event of the terminal, and reports whether to go on.
func (v *View) handle(ctx context.Context, screen *canvas, event tcell.Event) bool {
	switch event := event.(type) {
	case *tcell.EventResize:
		// The first one comes when nothing has changed yet.
		if width, height := event.Size(); screen.cells != nil && (width != screen.width || height != screen.height) {
			screen.Sync()
		}
	case *tcell.EventKey:
		v.note = ""
		if event.Key() == tcell.KeyCtrlC {
			return false
		}
		if v.typing {
			v.typed(event)
			return true
		}
		return v.key(ctx, screen, event)
	case *tcell.EventError:
		return false // the terminal is gone
	}
	return true
}

// key takes a key while no filter is being typed.
func (v *View) key(ctx context.Context, screen *canvas, event *tcell.EventKey) bool {
	switch event.Key() { //nolint:exhaustive // the table takes the others
	case tcell.KeyRune:
		return v.letter(screen, event)
	case tcell.KeyEnter:
		if row := v.current(); row != nil {
			v.open(ctx, *row)
		}
	case tcell.KeyEscape:
		v.escape()
	default:
		v.move(event)
	}
	return true
}

// escape goes back a step: from a history, or else from a filter.
func (v *View) escape() {
	switch {
	case v.focus != nil && v.past != nil:
		v.focus, v.past = nil, nil
	case v.focus == nil:
		v.filter, v.trouble = "", false
		v.arrange()
	}
}

// move has the table move the selection.
func (v *View) move(event *tcell.EventKey) {
	v.table.InputHandler()(event, func(tview.Primitive) {})
	line, _ := v.table.GetSelection()
	v.selectAt(line)
}

func (v *View) letter(screen *canvas, event *tcell.EventKey) bool {
	switch event.Rune() {
	case 'q':
		return false
	case '/':
		v.typing, v.before = true, v.filter
	case 't':
		v.trouble = !v.trouble
		v.arrange()
	case 'p':
		v.paused = !v.paused
		v.pausedLast = v.shown.Health.Last
	case 'y', 'c':
		v.copy(screen)
	default:
		v.move(event)
	}
	return true
}

// copy hands the command for the selected row to the terminal, and shows it, because not every terminal takes it.
func (v *View) copy(screen *canvas) {
	command := "osctl-eventctl monitor"
	switch row := v.current(); {
	case v.focus != nil:
		command = v.focus.command()
	case row != nil:
		command = row.command()
	}
	screen.SetClipboard([]byte(command))
	v.note = fmt.Sprintf("copied: %s", tview.Escape(command))
}

// typed takes a key while the filter is being typed: it works at once, Enter keeps it, Esc brings the one before back.
func (v *View) typed(event *tcell.EventKey) {
	text := []rune(v.filter)
	switch event.Key() { //nolint:exhaustive // other keys mean nothing here
	case tcell.KeyEnter:
		v.typing = false
		return
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
		return
	}
	v.filter = string(text)
	v.arrange()
}
