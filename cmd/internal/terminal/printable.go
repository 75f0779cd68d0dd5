// Package terminal writes output to a terminal, a file or a pipe. Names come from containers, so an
// [Output] escapes control characters before text reaches a terminal. [Paint] adds colours.
package terminal

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Printable makes text safe for a terminal. Characters that would move the cursor or change the
// terminal's state become escapes.
func Printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			quoted := strconv.Quote(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}

// Escape makes text safe for a terminal, and keeps JSON equivalent. All control characters become
// \u…, except line breaks, tabs and the sequences of [Paint].
func Escape(text []byte) []byte {
	clean := true
	for i := 0; clean && i < len(text); i++ {
		clean = text[i] >= ' ' && text[i] < 0x7f || text[i] == '\n' || text[i] == '\t'
	}
	if clean {
		return text
	}
	escaped := make([]byte, 0, len(text)+64)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if n := styleLength(text[i:]); n > 0 {
			size = n
		}
		switch {
		case size > 1 && text[i] == '\x1b', strconv.IsPrint(r) && r != utf8.RuneError, r == '\n', r == '\t':
			escaped = append(escaped, text[i:i+size]...)
		case r > 0xffff:
			r -= 0x10000
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
		i += size
	}
	return escaped
}
