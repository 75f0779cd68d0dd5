package terminal

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Output is a file that the program writes to. If it is a terminal, Write escapes all text. Each
// write must consist of whole characters. Full-screen views draw without an Output.
type Output struct {
	File     *os.File
	Terminal bool
}

// NewOutput returns an output to f, and finds out whether f is a terminal.
func NewOutput(f *os.File) *Output { return &Output{f, isTerminal(f)} }

// Write writes text, and returns the number of bytes before escaping.
func (o *Output) Write(text []byte) (int, error) {
	if !o.Terminal {
		return o.File.Write(text)
	}
	if _, err := o.File.Write(Escape(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// isTerminal reports whether a file is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Colourful reports whether to colour the output: f is a terminal, but no dumb one, and NO_COLOR is
// empty (https://no-color.org).
func (o *Output) Colourful() bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && o.Terminal
}

// Height returns the number of lines of the terminal, 24 if it is unknown.
func (o *Output) Height() int {
	size, err := unix.IoctlGetWinsize(int(o.File.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 {
		return 24
	}
	return int(size.Row)
}

// Closed reports whether the output was closed when the program started. Go's runtime then opens
// /dev/null for reading and writing in its place, so that writes succeed and are lost. A shell
// redirection to /dev/null opens it for writing only.
func (o *Output) Closed() bool {
	info, err := o.File.Stat()
	if err != nil {
		return true
	}
	flags, err := unix.FcntlInt(o.File.Fd(), unix.F_GETFL, 0)
	stat, ok := info.Sys().(*syscall.Stat_t)
	return err != nil || ok && info.Mode()&os.ModeCharDevice != 0 && stat.Rdev == unix.Mkdev(1, 3) && flags&unix.O_ACCMODE == unix.O_RDWR
}
