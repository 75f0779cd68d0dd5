package screen

import (
	"unicode"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
)

// maxPrompt is the maximum length of a prompt's text, in characters.
const maxPrompt = 200

// label stands before the text.
const label = "filter: "

// Prompt is a filter that the user edits at the bottom of the screen.
type Prompt struct {
	Text   string
	Open   bool   // the user is typing
	before string // the text that Esc restores
}

// Start opens the prompt to edit the present text.
func (p *Prompt) Start() { p.Open, p.before = true, p.Text }

// HandleKey edits the text. Enter closes the prompt; Esc closes it, too, and restores the text.
func (p *Prompt) HandleKey(event *tcell.EventKey) {
	text := []rune(p.Text)
	switch event.Key() { //nolint:exhaustive // other keys do nothing
	case tcell.KeyEnter:
		p.Open = false
	case tcell.KeyEscape:
		p.Open = false
		text = []rune(p.before)
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		text = text[:max(len(text)-1, 0)]
	case tcell.KeyCtrlU:
		text = nil
	case tcell.KeyRune:
		if unicode.IsPrint(event.Rune()) && len(text) < maxPrompt {
			text = append(text, event.Rune())
		}
	}
	p.Text = string(text)
}

// Line returns the label and the text.
func (p *Prompt) Line() Line { return Line{}.Add(label+p.Text, tcell.StyleDefault.Bold(true)) }

// PlaceCursor shows the cursor behind the text while the prompt is open, and hides it otherwise.
func (p *Prompt) PlaceCursor(terminal tcell.Screen) {
	if !p.Open {
		terminal.HideCursor()
		return
	}
	width, height := terminal.Size()
	terminal.ShowCursor(min(uniseg.StringWidth(label+p.Text), width-1), height-1)
}
