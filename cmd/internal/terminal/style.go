package terminal

import "bytes"

// Ink is a colour or another rendition, as the parameter of SGR, see console_codes(4).
type Ink string

// The inks. What is good is green, what is not is red, what passes is yellow.
const (
	InkNone  Ink = ""
	InkBold  Ink = "1"
	InkFaint Ink = "2"
	InkGood  Ink = "32"
	InkBad   Ink = "31"
	InkPass  Ink = "33"
)

// InkOf returns the ink for an action or a state.
func InkOf(what string) Ink {
	switch what {
	case "up", "running", "done", "add":
		return InkGood
	case "down", "stopped", "aborting", "error", "failed", "remove":
		return InkBad
	case "rename", "staged", "starting", "stopping", "freezing", "frozen", "thawed", "run", "no-carrier":
		return InkPass
	}
	return InkNone
}

// Paint appends text in an ink, if there is colour at all.
func Paint(b []byte, colour bool, with Ink, text string) []byte {
	if !colour || with == InkNone {
		return append(b, text...)
	}
	b = append(append(append(b, "\x1b["...), with...), 'm')
	return append(append(b, text...), "\x1b[0m"...)
}

// inkLength returns how many bytes at the beginning of text put an ink on or take it off, as
// [Paint] does; 0 for none.
func inkLength(text []byte) int {
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
