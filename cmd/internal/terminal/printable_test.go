package terminal

import "testing"

func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		`"plain"`:                 `"plain"`,
		"a\tb\r\n":                "a\tb\\u000d\n",
		"\x1b[32mup\x1b[0m":       "\x1b[32mup\x1b[0m",
		"\x1b[2J\x1b[m\x1b[1;31m": `\u001b[2J\u001b[m\u001b[1;31m`,
		`"žluť 日本"`:               `"žluť 日本"`,
		"\"\u009b31m\"":           `"\u009b31m"`,
		"\"\x7f\u202e\"":          `"\u007f\u202e"`,
		"\"\U000e0041 tag\"":      `"\udb40\udc41 tag"`,
		"\"\ufffd\u00a0\u200b":    `"\ufffd\u00a0\u200b`,
	} {
		if got := string(Escape([]byte(text))); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
