package terminal

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Output is a file that the program writes to. If that is a terminal, output escapes all text,
// because names come from containers. Only the full screen of --watch draws by itself.
// Each write must be of whole characters.
type Output struct {
	File     *os.File
	Terminal bool
}

// NewOutput returns an output that knows whether f is a terminal.
func NewOutput(f *os.File) *Output { return &Output{f, isTerminal(f)} }

// Write writes text. What is returned counts the bytes before they were escaped.
func (o *Output) Write(text []byte) (int, error) {
	if !o.Terminal {
		return o.File.Write(text)
	}
	if _, err := o.File.Write(Escape(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// WriteString is [Output.Write] of a string.
func (o *Output) WriteString(text string) (int, error) { return o.Write([]byte(text)) }

// isTerminal reports whether a file is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Colourful reports whether the output is to be coloured: a terminal that is not a dumb one,
// unless NO_COLOR is set to anything (https://no-color.org).
func (o *Output) Colourful() bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && o.Terminal
}

// Height is how many lines the terminal has, 24 if it does not say.
func (o *Output) Height() int {
	size, err := unix.IoctlGetWinsize(int(o.File.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 {
		return 24
	}
	return int(size.Row)
}

// Closed reports whether the output was closed when the program started. The runtime of
// Go opens /dev/null for reading and writing then, and what is written is lost without an
// error; a shell that is told to write there opens it for writing alone.
func (o *Output) Closed() bool {
	info, err := o.File.Stat()
	if err != nil {
		return true
	}
	flags, err := unix.FcntlInt(o.File.Fd(), unix.F_GETFL, 0)
	stat, ok := info.Sys().(*syscall.Stat_t)
	return err != nil || ok && info.Mode()&os.ModeCharDevice != 0 && stat.Rdev == unix.Mkdev(1, 3) && flags&unix.O_ACCMODE == unix.O_RDWR
}
