package screen

import "testing"

func TestFit(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 5, "abc  "}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"日本語", 5, "日本…"}, {"日本語", 4, "日… "}} {
		if got := Fit(test.text, test.width); got != test.want {
			t.Errorf("%q in %d: %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestScroll(t *testing.T) {
	for _, test := range []struct{ top, selected, visible, rows, want int }{
		{0, 0, 5, 20, 0}, {0, 5, 5, 20, 1}, {10, 5, 5, 20, 5}, {19, 19, 5, 20, 15}, {9, 2, 5, 3, 0}, {0, 0, 0, 0, 0}, {3, 4, 0, 20, 5},
	} {
		if got := Scroll(test.top, test.selected, test.visible, test.rows); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}
