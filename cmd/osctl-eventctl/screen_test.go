package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
)

// screen is the program on a pseudo-terminal. An emulator draws its output.
type screen struct {
	cmd     *exec.Cmd
	stdout  daemontest.Output
	tty     *os.File // the test's side of the pseudo-terminal
	term    vt10x.Terminal
	written *counter
	drained chan struct{} // closed when the whole output is drawn
}

// counter counts bytes.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.Add(int64(len(p)))
	return len(p), nil
}

// wholeRunes passes whole characters on to the emulator. A read of the pseudo-terminal may end within one, and
// then the emulator writes less than it got, which ends a copy.
type wholeRunes struct {
	to   io.Writer
	rest []byte
}

func (w *wholeRunes) Write(p []byte) (int, error) {
	text := append(w.rest, p...)
	whole := len(text)
	for i := whole - 1; i >= max(whole-utf8.UTFMax, 0); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				whole = i
			}
			break
		}
	}
	w.rest = slices.Clone(text[whole:])
	if _, err := w.to.Write(text[:whole]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestWholeRunes writes text to the emulator byte by byte.
func TestWholeRunes(t *testing.T) {
	term := vt10x.New(vt10x.WithSize(5, 1))
	w := &wholeRunes{to: term}
	for _, b := range []byte("a↑\xffé日") {
		if _, err := io.Copy(w, bytes.NewReader([]byte{b})); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.TrimSpace(term.String()); got != "a↑é日" {
		t.Errorf("the screen is %q", got)
	}
}

// onScreen starts the program on a pseudo-terminal, with colours.
func onScreen(t testing.TB, bus *bustest.Bus, width, height int, args ...string) *screen {
	t.Helper()
	return onScreenWith(t, bus, "NO_COLOR=", width, height, args...)
}

// onScreenWith is onScreen with another variable in the environment.
func onScreenWith(t testing.TB, bus *bustest.Bus, variable string, width, height int, args ...string) *screen {
	t.Helper()
	s := &screen{cmd: exec.Command(program(), args...), term: vt10x.New(vt10x.WithSize(width, height)), written: &counter{}, drained: make(chan struct{})}
	s.cmd.Env = append(bus.Env(), "TERM=xterm-256color", "COLORTERM=", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC", variable)
	var err error
	s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.drained)
		// The copy ends with the program.
		_, _ = io.Copy(io.MultiWriter(s.written, &s.stdout, &wholeRunes{to: s.term}), s.tty)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		<-s.drained
		_ = s.tty.Close()
	})
	return s
}

// wait waits until the program has ended and its output is drawn. It returns the exit status.
func (s *screen) wait(t testing.TB) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	if !timer.Stop() {
		t.Fatalf("%v does not end; the screen is\n%s", s.cmd.Args, strings.Join(s.lines(), "\n"))
	}
	<-s.drained
	return s.cmd.ProcessState.ExitCode()
}

// lines returns the lines on the screen without trailing spaces.
func (s *screen) lines() []string {
	lines := strings.Split(strings.TrimRight(s.term.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// until waits until ok accepts the screen, and returns the screen.
func (s *screen) until(t testing.TB, what string, ok func(lines []string) bool) []string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if lines := s.lines(); ok(lines) {
			return lines
		}
	}
	t.Fatalf("timed out waiting for %s; the screen is\n%s", what, strings.Join(s.lines(), "\n"))
	return nil
}

// untilText waits until a text is on the screen.
func (s *screen) untilText(t testing.TB, text string) {
	t.Helper()
	s.until(t, text, func(lines []string) bool { return strings.Contains(strings.Join(lines, "\n"), text) })
}

// untilCursor waits until the cursor is in a cell.
func (s *screen) untilCursor(t testing.TB, x, y int) {
	t.Helper()
	s.until(t, fmt.Sprintf("the cursor in column %d", x), func([]string) bool {
		s.term.Lock()
		defer s.term.Unlock()
		return s.term.CursorVisible() && s.term.Cursor().X == x && s.term.Cursor().Y == y
	})
}

// keys types keys.
func (s *screen) keys(t testing.TB, keys string) {
	t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}
