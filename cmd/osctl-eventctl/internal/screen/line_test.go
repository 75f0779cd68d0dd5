package screen

import (
	"strings"
	"testing"

	"github.com/gdamore/tcell/v2"
)

// TestDraw checks what is on the screen after two pictures, with wide characters that other characters replace.
func TestDraw(t *testing.T) {
	terminal := tcell.NewSimulationScreen("UTF-8")
	if err := terminal.Init(); err != nil {
		t.Fatal(err)
	}
	defer terminal.Fini()
	terminal.SetSize(6, 3)
	draw := func(text, foot string) string {
		plain := tcell.StyleDefault
		Draw(terminal, []Line{Line{}.Add(text[:1], plain).Add(text[1:], plain.Bold(true)), nil, Line{}.Add("cut", plain)}, Line{}.Add(foot, plain))
		var b strings.Builder
		cells, _, _ := terminal.GetContents()
		for i, cell := range cells {
			if b.WriteString(string(cell.Runes)); i%6 == 5 {
				b.WriteByte('|')
			}
		}
		return b.String()
	}
	// After a wide character, the simulation keeps the cell of its second half as it was.
	if got, want := draw("abcdefgh", "foot"), "abcdef|      |foot  |"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := draw("a日本e\u0301", "日本語日"), "a日c本ee\u0301|      |日o本t語 |"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := draw("a日xy語", ""), "a日cxy |      |      |"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := draw("abcdef", "foot"), "abcdef|      |foot  |"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
