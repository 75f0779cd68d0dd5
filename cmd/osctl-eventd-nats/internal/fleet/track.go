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

// maxLine limits a line in bytes. It exceeds the largest event of osctl-eventd as JSON.
const maxLine = 1 << 20

// Line is one line of a message: an event, or a record of the bridge.
type Line struct {
	Event  *hub.Event
	Epoch  string  // of the event
	Record *Record // not nil for a record
	// Again means that the reader has read this line before: the stream went back to an older copy,
	// and the bridge wrote the line again.
	Again bool
	// Unknown is why the event cannot be parsed: it is nested too deeply, or a later version or no
	// bridge wrote it.
	Unknown error
}

// Track is a reader's position in the events of one host. The zero value is a host without any message
// read.
type Track struct {
	Cursor string // after the last message; "" if it is not known
}

// Take parses the next message of the host, and advances the position. If events are missing without a
// record that says so, Take adds a record with the reason [GapDropped]. The error is [ErrForeign] for a
// message that no bridge wrote; the position stays then.
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

// distance returns the number of events between two cursors, 0 if it is unknown, and whether the second
// cursor is ahead of the first. In another epoch it counts as ahead.
func distance(from, to string) (n uint64, ahead bool) {
	was, a, _ := hub.ParseCursor(from)
	is, b, _ := hub.ParseCursor(to)
	if was != is {
		return 0, true
	}
	return b - min(a, b), b > a
}

// readLine parses a line at position at, and returns the cursors before and after the line.
func readLine(text []byte, at string) (line Line, from, to string, err error) {
	var r Record
	if len(text) > maxLine {
		return line, "", "", errors.New("a line is too long")
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return line, "", "", err
	}
	epoch, seq, err := hub.ParseCursor(r.Cursor)
	if err != nil {
		return line, "", "", err
	}
	if !strings.HasPrefix(r.Type, "_") {
		if line.Event, line.Epoch, err = eventjson.ParseEvent(text); err != nil {
			line.Unknown = fmt.Errorf("event %s: %w", r.Cursor, err)
		}
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
