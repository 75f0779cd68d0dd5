package screen

import (
	"fmt"
	"os"

	"github.com/gdamore/tcell/v2"
	"golang.org/x/text/encoding/unicode"
)

// Open returns the terminal of the process. It replaces a byte of the input that is not UTF-8, as a
// terminal with another character set or a paste sends it. At such a byte, tcell's own decoder makes no
// progress: it would use a whole processor, and no key would work any more.
func Open() (tcell.Screen, error) {
	for _, charset := range []string{"UTF-8", "UTF8"} {
		tcell.RegisterEncoding(charset, unicode.UTF8)
	}
	terminal, err := tcell.NewScreen()
	if err != nil {
		return nil, terminalError(err)
	}
	return terminal, nil
}

func terminalError(err error) error { return fmt.Errorf("terminal %q: %w", os.Getenv("TERM"), err) }
