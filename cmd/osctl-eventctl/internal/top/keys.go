package top

import (
	"github.com/gdamore/tcell/v2"

	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// HandleKey implements [screen.View].
func (v *View) HandleKey(event *tcell.EventKey) bool {
	v.note = ""
	switch key, letter := event.Key(), screen.Letter(event); {
	case v.filter.Open:
		v.filter.HandleKey(event)
		v.arrange()
	case key == tcell.KeyEnter:
		if row := v.current(); row != nil {
			v.open(*row)
		}
	case key == tcell.KeyEscape:
		v.goBack()
	case letter == '/':
		v.filter.Start()
	case letter == 't':
		v.trouble = !v.trouble
		v.arrange()
	case letter == 'p':
		v.paused = !v.paused
		v.pausedLast = v.shown.Health.Last
	case letter == 'y', letter == 'c':
		v.copyCommand()
	case letter == 'q':
		return false
	default:
		v.selectAt(v.position + screen.Movement(event, v.page))
	}
	return true
}

// goBack leaves the history, or else ends the filters.
func (v *View) goBack() {
	if v.focus != nil {
		v.endFetch()
		v.focus, v.past = nil, nil
		return
	}
	v.filter.Text, v.trouble = "", false
	v.arrange()
}

// copyCommand copies the command for the selected row to the clipboard, and shows it, because some
// terminals do not support that.
func (v *View) copyCommand() {
	command := "osctl-eventctl monitor"
	switch row := v.current(); {
	case v.focus != nil:
		command = v.focus.command()
	case row != nil:
		command = row.command()
	}
	v.terminal.SetClipboard([]byte(command))
	v.note = "copied: " + command
}
