package hub

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPlainText(t *testing.T) {
	for name, want := range map[string]string{
		"eth0": "eth0", "": "", "müsli 鯨": "müsli 鯨", "a b": "a b",
		"a\xffb": `a\xffb`, `a\b`: `a\x5cb`, "a\nb": `a\x0ab`, "a\u200bb": `a\xe2\x80\x8bb`, "\ufffd": "\ufffd",
	} {
		if got := PlainText([]byte(name), 255); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
		if got := IsPlainText([]byte(name)); got != (name == want) {
			t.Errorf("%q is plain: %v", name, got)
		}
	}
	for limit, want := range map[int]string{0: "", 1: "a", 4: "a", 5: `a\xff`, 6: `a\xff`, 7: `a\xffü`} {
		if got := PlainText([]byte("a\xffü"), limit); got != want {
			t.Errorf("within %d bytes: %q, want %q", limit, got, want)
		}
	}
}

// FuzzPlainText wants text within the limit, and of two names another one each.
func FuzzPlainText(f *testing.F) {
	f.Add([]byte("eth0"), []byte("eth0\x00"), 15)
	f.Add([]byte(`\xff`), []byte("\xff"), 255)
	f.Fuzz(func(t *testing.T, a, b []byte, limit int) {
		limit = min(max(limit, 0), 300)
		if got := PlainText(a, limit); len(got) > limit || !utf8.ValidString(got) || strings.Contains(got, "\x00") {
			t.Errorf("%q within %d is shown as %q", a, limit, got)
		}
		all := 4 * (len(a) + len(b))
		if (PlainText(a, all) == PlainText(b, all)) != (string(a) == string(b)) {
			t.Errorf("%q and %q look the same", a, b)
		}
	})
}
