package top

import (
	"context"
	"fmt"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"

	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// handle handles an event of the terminal. It returns false to end the view.
func (v *View) handle(ctx context.Context, canvas *screen.Canvas, event tcell.Event) bool {
	switch event := event.(type) {
	case *tcell.EventResize:
		canvas.HandleResize(event)
	case *tcell.EventKey:
		v.note = ""
		if event.Key() == tcell.KeyCtrlC {
			return false
		}
		if v.filter.Open {
			v.filter.HandleKey(event)
			v.arrange()
			return true
		}
		return v.handleKey(ctx, canvas, event)
	case *tcell.EventError:
		return false // the terminal is gone
	}
	return true
}

// handleKey handles a key while no filter is being typed. It returns false to end the view.
func (v *View) handleKey(ctx context.Context, canvas *screen.Canvas, event *tcell.EventKey) bool {
	switch event.Key() { //nolint:exhaustive // the table handles the others
	case tcell.KeyRune:
		return v.handleLetter(canvas, event)
	case tcell.KeyEnter:
		if row := v.current(); row != nil {
			v.open(ctx, *row)
		}
	case tcell.KeyEscape:
		v.goBack()
	default:
		v.move(event)
	}
	return true
}

// goBack leaves the history, or else ends the filters.
func (v *View) goBack() {
	switch {
	case v.focus != nil && v.past != nil:
		v.focus, v.past = nil, nil
	case v.focus == nil:
		v.filter.Text, v.trouble = "", false
		v.arrange()
	}
}

// move lets the table move the selection.
func (v *View) move(event *tcell.EventKey) {
	v.table.InputHandler()(event, func(tview.Primitive) {})
	line, _ := v.table.GetSelection()
	v.selectAt(line)
}

func (v *View) handleLetter(canvas *screen.Canvas, event *tcell.EventKey) bool {
	switch event.Rune() {
	case 'q':
		return false
	case '/':
		v.filter.Start()
	case 't':
		v.trouble = !v.trouble
		v.arrange()
	case 'p':
		v.paused = !v.paused
		v.pausedLast = v.shown.Health.Last
	case 'y', 'c':
		v.copyCommand(canvas)
	default:
		v.move(event)
	}
	return true
}

// copyCommand copies the command for the selected row to the clipboard, and shows it, because some
// terminals do not support that.
func (v *View) copyCommand(canvas *screen.Canvas) {
	command := "osctl-eventctl monitor"
	switch row := v.current(); {
	case v.focus != nil:
		command = v.focus.command()
	case row != nil:
		command = row.command()
	}
	canvas.SetClipboard([]byte(command))
	v.note = fmt.Sprintf("copied: %s", tview.Escape(command))
}
