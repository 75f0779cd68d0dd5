package screen

import "github.com/gdamore/tcell/v2"

// far is more than the number of rows of any table.
const far = 1 << 30

// Letter returns the character of a key, 0 for a key like Enter or Ctrl-Q.
func Letter(event *tcell.EventKey) rune {
	if event.Key() != tcell.KeyRune {
		return 0
	}
	return event.Rune()
}

// Movement returns by how many rows a key moves the selection, as in less(1), 0 if it moves nothing. page is
// the number of visible rows.
func Movement(event *tcell.EventKey, page int) int {
	switch key, letter := event.Key(), Letter(event); {
	case key == tcell.KeyUp, letter == 'k':
		return -1
	case key == tcell.KeyDown, letter == 'j':
		return 1
	case key == tcell.KeyPgUp, key == tcell.KeyCtrlB, letter == 'b':
		return -page
	case key == tcell.KeyPgDn, key == tcell.KeyCtrlF, letter == ' ':
		return page
	case key == tcell.KeyHome, letter == 'g':
		return -far
	case key == tcell.KeyEnd, letter == 'G':
		return far
	}
	return 0
}
