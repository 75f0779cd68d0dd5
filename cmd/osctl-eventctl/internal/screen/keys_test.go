package screen

import (
	"testing"

	"github.com/gdamore/tcell/v2"
)

func TestMovement(t *testing.T) {
	for _, test := range []struct {
		key    tcell.Key
		letter rune
		want   int
	}{
		{tcell.KeyUp, 0, -1},
		{tcell.KeyDown, 0, 1},
		{tcell.KeyPgUp, 0, -9},
		{tcell.KeyPgDn, 0, 9},
		{tcell.KeyHome, 0, -far},
		{tcell.KeyEnd, 0, far},
		{tcell.KeyRune, 'k', -1},
		{tcell.KeyRune, 'j', 1},
		{tcell.KeyRune, 'b', -9},
		{tcell.KeyRune, ' ', 9},
		{tcell.KeyRune, 'g', -far},
		{tcell.KeyRune, 'G', far},
		{tcell.KeyCtrlF, 0, 9},
		{tcell.KeyCtrlB, 0, -9},
		{tcell.KeyCtrlG, 0, 0},
		{tcell.KeyRune, 'x', 0},
		{tcell.KeyLeft, 0, 0},
	} {
		if got := Movement(tcell.NewEventKey(test.key, test.letter, tcell.ModNone), 9); got != test.want {
			t.Errorf("key %d, %q: %d, want %d", test.key, test.letter, got, test.want)
		}
	}
}
