package terminal

import "bytes"

// Style is the style of a text: the parameter of the SGR sequence, see console_codes(4).
type Style string

// The styles. Good states are green, bad ones red, passing ones yellow.
const (
	StyleNone     Style = ""
	StyleBold     Style = "1"
	StyleFaint    Style = "2"
	StyleGood     Style = "32"
	StyleBad      Style = "31"
	StyleChanging Style = "33"
)

// StyleOf returns the style of an action or a state.
func StyleOf(what string) Style {
	switch what {
	case "up", "running", "done", "add":
		return StyleGood
	case "down", "stopped", "aborting", "error", "failed", "remove":
		return StyleBad
	case "rename", "staged", "starting", "stopping", "freezing", "frozen", "thawed", "run", "no-carrier":
		return StyleChanging
	}
	return StyleNone
}

// Paint appends text to b, in a style if colour is set.
func Paint(b []byte, colour bool, style Style, text string) []byte {
	if !colour || style == StyleNone {
		return append(b, text...)
	}
	b = append(append(append(b, "\x1b["...), style...), 'm')
	return append(append(b, text...), "\x1b[0m"...)
}

// styleLength returns the length of the SGR sequence that text begins with, as [Paint] writes it; 0
// for none.
func styleLength(text []byte) int {
	rest, ok := bytes.CutPrefix(text, []byte("\x1b["))
	if !ok {
		return 0
	}
	end := bytes.IndexByte(rest[:min(len(rest), 3)], 'm')
	if end < 1 || len(bytes.Trim(rest[:end], "0123456789")) > 0 {
		return 0
	}
	return len("\x1b[") + end + 1
}
