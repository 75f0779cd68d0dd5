package netwatch

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// showName returns an interface name as text: the kernel allows nearly any bytes
// in one. Bytes that are not UTF-8, control and format characters, and the
// backslash itself are written as \xNN, so two names that differ never look the
// same. old is returned without allocating if it is that text already.
func showName(raw []byte, old string) string {
	if plainName(raw) {
		if string(raw) == old {
			return old
		}
		return string(raw)
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		if plainRune(r, size) {
			b.Write(raw[:size])
		} else {
			for _, c := range raw[:size] {
				b.WriteString(`\x`)
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&15])
			}
		}
		raw = raw[size:]
	}
	return b.String()
}

// plainName reports whether the bytes can be shown as they are.
func plainName(raw []byte) bool {
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		if !plainRune(r, size) {
			return false
		}
		i += size
	}
	return true
}

func plainRune(r rune, size int) bool {
	return r != '\\' && (r != utf8.RuneError || size > 1) && unicode.IsPrint(r)
}
