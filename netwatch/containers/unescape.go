package containers

import (
	"strconv"
	"strings"
)

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
