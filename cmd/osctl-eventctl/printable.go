package main

import (
	"fmt"
	"os"
	"strconv"
	"unicode/utf8"
)

// printable makes text safe for a terminal: what would move its cursor or change its
// state is shown as an escape instead.
func printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			quoted := strconv.Quote(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}

// escape makes text safe for a terminal in such a way that JSON stays the same JSON: what
// would do something there but begin a new line, or put a colour on, becomes \u….
func escape(text []byte) []byte {
	clean := true
	for i := 0; clean && i < len(text); i++ {
		clean = text[i] >= ' ' && text[i] < 0x7f || text[i] == '\n' || text[i] == '\t'
	}
	if clean {
		return text
	}
	made := make([]byte, 0, len(text)+64)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if n := inkLength(text[i:]); n > 0 {
			size = n
		}
		switch {
		case size > 1 && text[i] == '\x1b', strconv.IsPrint(r) && r != utf8.RuneError, r == '\n', r == '\t':
			made = append(made, text[i:i+size]...)
		case r > 0xffff:
			r -= 0x10000
			made = fmt.Appendf(made, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			made = fmt.Appendf(made, `\u%04x`, r)
		}
		i += size
	}
	return made
}

// output is a file that the program writes to. If that is a terminal, output escapes all text,
// because names come from containers. Only the full screen of --watch draws by itself.
// Each write must be of whole characters.
type output struct {
	file     *os.File
	terminal bool
}

func newOutput(f *os.File) *output { return &output{f, isTerminal(f)} }

// Write writes text. What is returned counts the bytes before they were escaped.
func (o *output) Write(text []byte) (int, error) {
	if !o.terminal {
		return o.file.Write(text)
	}
	if _, err := o.file.Write(escape(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// WriteString is [output.Write] of a string.
func (o *output) WriteString(text string) (int, error) { return o.Write([]byte(text)) }
