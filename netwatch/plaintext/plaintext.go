// Package plaintext shows names that may be any bytes, as those of interfaces, cgroups and
// files may be, as text.
package plaintext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Is reports whether a name is shown as it is: UTF-8 that can be printed, without a
// backslash.
func Is(name []byte) bool {
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRune(name[i:])
		if !plain(r, size) {
			return false
		}
		i += size
	}
	return true
}

// Of returns a name as text. Bytes that are not UTF-8, characters that cannot be printed, and the
// backslash itself are written as \xNN, so two names that differ never look the
// same. What would be beyond a limit of bytes is cut off, between characters.
func Of(name []byte, limit int) string {
	if len(name) <= limit && Is(name) {
		return string(name)
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRune(name)
		piece := name[:size]
		name = name[size:]
		if !plain(r, size) {
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

func plain(r rune, size int) bool {
	return r != '\\' && (r != utf8.RuneError || size > 1) && unicode.IsPrint(r)
}
