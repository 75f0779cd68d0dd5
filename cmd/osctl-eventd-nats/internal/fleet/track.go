package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/osctl/eventd/cmd/internal/eventjson"
	"github.com/osctl/eventd/hub"
)

// maxLine bounds a line: more than the largest event of osctl-eventd takes as JSON.
const maxLine = 1 << 20

// Line is one line of a message: an event, or a record of the bridge.
type Line struct {
	Event  *hub.Event
	Epoch  string  // of the event
	Record *Record // if it is not nil, the line is no event
	// Again says that the reader had this line before: the stream went back to an older copy,
	// and the bridge filled it again.
	Again bool
	// Unknown is why an event cannot be shown: it is one of a later version, or of no bridge.
	Unknown error
}

// Track is what a reader knows of one host: where its events are. The zero value is a host of
// which nothing was read yet.
type Track struct {
	Cursor string // after the last message; "" if it is not known
}

// Take reads a message of the host and moves on. Where events are missing and no record says so,
// Take puts a record in their place, with the reason [GapDropped]. The error is [ErrForeign]
// for a message that no bridge wrote; nothing is taken of it.
func (t *Track) Take(head *Head, data []byte) (lines []Line, err error) {
	at, end := t.Cursor, ""
	for text := range bytes.Lines(data) {
		line, from, to, err := readLine(bytes.TrimSuffix(text, []byte("\n")), at)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForeign, err)
		}
		end = to
		if at != "" && from != at {
			switch lost, ahead := distance(at, from); {
			case ahead:
				gap := Record{Type: TypeGap, Reason: GapDropped, From: at, Cursor: from, Lost: lost, Time: head.Seen}
				lines = append(lines, Line{Record: &gap})
			default:
				_, ahead = distance(at, to)
				line.Again = !ahead
			}
		}
		if !line.Again {
			at = to
		}
		lines = append(lines, line)
	}
	if end != head.Cursor {
		return nil, fmt.Errorf("%w: its lines end at %q, its header says %q", ErrForeign, end, head.Cursor)
	}
	t.Cursor = at
	return lines, nil
}

// distance returns how many events lie between two cursors, 0 if that is not known, and whether the
// second one is ahead of the first one, as it is in another epoch.
func distance(from, to string) (n uint64, ahead bool) {
	was, a, _ := hub.ParseCursor(from)
	is, b, _ := hub.ParseCursor(to)
	if was != is {
		return 0, true
	}
	return b - min(a, b), b > a
}

// readLine reads a line that follows a position, and returns from where to where it leads.
func readLine(text []byte, at string) (line Line, from, to string, err error) {
	var r Record
	if len(text) > maxLine {
		return line, "", "", errors.New("it has a line that is too long")
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return line, "", "", err
	}
	epoch, seq, err := hub.ParseCursor(r.Cursor)
	if err != nil {
		return line, "", "", err
	}
	if !strings.HasPrefix(r.Type, "_") {
		line.Event, line.Epoch, line.Unknown = eventjson.ParseEvent(text)
		return line, hub.FormatCursor(epoch, max(seq, 1)-1), r.Cursor, nil
	}
	line.Record = &r
	switch {
	case r.Type != TypeGap:
		return line, r.Cursor, r.Cursor, nil
	case r.From == "": // after a message that no bridge wrote
		return line, at, r.Cursor, nil
	}
	_, _, err = hub.ParseCursor(r.From)
	return line, r.From, r.Cursor, err
}
