package main

import (
	"fmt"
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

// printableJSON does the same for a JSON text, which stays the same JSON: what its
// encoder leaves as it is, like the control characters from U+007F on, becomes \u….
func printableJSON(line []byte) []byte {
	clean := true
	for i := 0; clean && i < len(line); i++ {
		clean = line[i] < 0x7f
	}
	if clean {
		return line
	}
	made := make([]byte, 0, len(line)+64)
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case strconv.IsPrint(r) && r != utf8.RuneError:
			made = append(made, line[i:i+size]...)
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
