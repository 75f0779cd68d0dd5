// Package terminal writes text to a terminal, or to what the output was redirected to. Names come
// from containers, and reach a terminal only as printable text, see [Output]; colours are put on
// by [Paint].
package terminal

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Printable makes text safe for a terminal: what would move its cursor or change its
// state is shown as an escape instead.
func Printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			quoted := strconv.Quote(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}

// Escape makes text safe for a terminal in such a way that JSON stays the same JSON: what
// would do something there but begin a new line, or put a colour on, becomes \u….
func Escape(text []byte) []byte {
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
