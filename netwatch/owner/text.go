package owner

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the most bytes that a pool or an id has.
const maxText = 255

// show returns a name as text: UTF-8 that can be printed, at most maxText bytes. All
// else, and the backslash, is written as \xNN, so that two names which differ do not
// look the same (as names of interfaces are in netwatch). What is longer is cut.
func show(name string) string {
	if len(name) <= maxText && plain(name) {
		return name
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		piece := name[:size]
		name = name[size:]
		if !plainRune(r, size) {
			escaped := make([]byte, 0, 4*utf8.UTFMax)
			for i := range len(piece) {
				escaped = append(escaped, '\\', 'x', hex[piece[i]>>4], hex[piece[i]&15])
			}
			piece = string(escaped)
		}
		if b.Len()+len(piece) > maxText {
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

func plain(name string) bool {
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
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

// unescape undoes the \xNN of systemd's unit names. A dash stays one, although it
// stands for a slash in other units: no name of a machine has a slash, and
// systemd-nspawn@.service is given the name as it is (its --machine=%i).
func unescape(name string) string {
	if !strings.Contains(name, `\x`) {
		return name
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(name, `\x`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if c, ok := hexByte(after); ok {
			b.WriteByte(c)
			name = after[2:]
			continue
		}
		b.WriteString(`\x`)
		name = after
	}
}

func hexByte(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:2], 16, 8)
	return byte(n), err == nil
}
