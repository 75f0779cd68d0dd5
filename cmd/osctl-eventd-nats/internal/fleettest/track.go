package fleettest

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/hub"
)

// Line is one line of a message: an event, or a record of the bridge.
type Line struct {
	Type   string
	Record *fleet.Record // nil for an event
}

// Track is what a reader knows of one host: where its events are. The zero value is a host of
// which nothing was read yet.
type Track struct {
	Cursor string // after the last message; "" for none
}

// Take reads a message of the host and moves on. hole says that events are missing and no
// record says so; the message is taken all the same. The error is [fleet.ErrForeign] for a message
// that no bridge wrote; nothing is taken of it.
func (t *Track) Take(header nats.Header, data []byte) (lines []Line, hole, err error) {
	head, err := fleet.ParseHead(header, 0)
	if err != nil {
		return nil, nil, err
	}
	at := t.Cursor
	for text := range bytes.Lines(data) {
		line, next, err := readLine(bytes.TrimSuffix(text, []byte("\n")), at)
		if err != nil {
			return nil, nil, err
		}
		if at != "" && next.from != at && hole == nil {
			hole = fmt.Errorf("events are missing after %s; the next position is %s", at, next.from)
		}
		at = next.to
		lines = append(lines, line)
	}
	if at != head.Cursor {
		return nil, nil, fmt.Errorf("%w: its lines end at %q, its header says %q", fleet.ErrForeign, at, head.Cursor)
	}
	t.Cursor = at
	return lines, hole, nil
}

// step is from where to where a line leads.
type step struct{ from, to string }

// readLine reads a line that follows a position.
func readLine(text []byte, at string) (Line, step, error) {
	var e struct {
		Type   string `json:"type"`
		Cursor string `json:"cursor"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return Line{}, step{}, fmt.Errorf("%w: %w", fleet.ErrForeign, err)
	}
	epoch, seq, err := hub.ParseCursor(e.Cursor)
	if err != nil {
		return Line{}, step{}, fmt.Errorf("%w: %w", fleet.ErrForeign, err)
	}
	line := Line{Type: e.Type}
	if e.Type == "" || e.Type[0] != '_' {
		return line, step{hub.FormatCursor(epoch, max(seq, 1)-1), e.Cursor}, nil
	}
	line.Record = &fleet.Record{}
	if err := json.Unmarshal(text, line.Record); err != nil {
		return Line{}, step{}, fmt.Errorf("%w: %w", fleet.ErrForeign, err)
	}
	s := step{e.Cursor, e.Cursor}
	switch {
	case e.Type == fleet.TypeGap && line.Record.From == "": // after a message that no bridge wrote
		s.from = at
	case e.Type == fleet.TypeGap:
		s.from = line.Record.From
	}
	return line, s, nil
}
