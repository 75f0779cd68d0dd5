// Package screen has what the full-screen views share. [Run] shows a [View], [Draw] draws its lines, and
// [Movement], [Scroll] and a [Prompt] handle its keys.
package screen

import (
	"github.com/gdamore/tcell/v2"

	"github.com/osctl/eventd/cmd/internal/terminal"
)

// Colour returns the colour of a style in the terminal's palette, [tcell.ColorDefault] for none.
func Colour(style terminal.Style) tcell.Color {
	switch style { //nolint:exhaustive // the others have no colour
	case terminal.StyleGood:
		return tcell.ColorGreen
	case terminal.StyleBad:
		return tcell.ColorMaroon // the palette's red
	case terminal.StyleChanging:
		return tcell.ColorOlive // the palette's yellow
	}
	return tcell.ColorDefault
}
