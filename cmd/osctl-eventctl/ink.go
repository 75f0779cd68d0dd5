package main

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// ink is a colour or another rendition, as the parameter of SGR, see console_codes(4).
type ink string

// The inks. What is good is green, what is not is red, what passes is yellow.
const (
	inkNone  ink = ""
	inkBold  ink = "1"
	inkFaint ink = "2"
	inkGood  ink = "32"
	inkBad   ink = "31"
	inkPass  ink = "33"
)

// inkOf returns the ink for an action or a state.
func inkOf(what string) ink {
	switch what {
	case "up", "running", "done", "add":
		return inkGood
	case "down", "stopped", "aborting", "error", "failed", "remove":
		return inkBad
	case "rename", "staged", "starting", "stopping", "freezing", "frozen", "thawed", "run", "no-carrier":
		return inkPass
	}
	return inkNone
}

// paint appends text in an ink, if there is colour at all.
func paint(b []byte, colour bool, with ink, text string) []byte {
	if !colour || with == inkNone {
		return append(b, text...)
	}
	b = append(append(append(b, "\x1b["...), with...), 'm')
	return append(append(b, text...), "\x1b[0m"...)
}

// inkLength returns how many bytes at the beginning of text put an ink on or take it off, as
// paint does; 0 for none.
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

// isTerminal reports whether a file is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// colourful reports whether an output is to be coloured: a terminal that is not a dumb one,
// unless NO_COLOR is set to anything (https://no-color.org).
func colourful(out *output) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && out.terminal
}
