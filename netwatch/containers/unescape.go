package containers

import (
	"strconv"
	"strings"
)

// unescape decodes the \xNN in systemd's unit names. It keeps dashes, although a
// dash stands for a slash in other units: names of machines have no slash, and
// systemd-nspawn@.service does not escape the name (its --machine=%i).
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
