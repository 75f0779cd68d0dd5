package hub

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// PlainText returns bytes from outside (the names of interfaces, cgroups, units and files) as
// printable UTF-8. Invalid bytes, characters that cannot be printed, and the backslash are written
// as \xNN, so different names never look the same. The text is cut off, between characters, at
// limit bytes.
func PlainText(raw []byte, limit int) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		piece := raw[:size]
		raw = raw[size:]
		if !plainRune(r, size) {
			escaped := make([]byte, 0, 4*utf8.UTFMax)
			for _, c := range piece {
				escaped = append(escaped, '\\', 'x', hex[c>>4], hex[c&15])
			}
			piece = escaped
		}
		if b.Len()+len(piece) > limit {
			break
		}
		b.Write(piece)
	}
	return b.String()
}

func plainRune(r rune, size int) bool {
	return r != '\\' && (r != utf8.RuneError || size > 1) && unicode.IsPrint(r)
}
