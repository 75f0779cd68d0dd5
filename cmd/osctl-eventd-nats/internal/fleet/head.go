package fleet

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/osctl/eventd/hub"
)

// Headers of a message that a bridge wrote.
const (
	HeaderCursor  = "Osctl-Cursor"  // EPOCH:SEQ after the message
	HeaderMachine = "Osctl-Machine" // the machine that wrote it, see package forward
	HeaderTime    = "Osctl-Time"    // of the event at the cursor, in microseconds since 1970; absent if unknown
	HeaderState   = "Osctl-State"   // the [Status] of the host
)

// State compares the history of a host's osctl-eventd with the stream.
type State struct {
	Backlog uint64 `json:"backlog"` // events that are not in the stream yet
	History uint64 `json:"history"` // events that osctl-eventd keeps
	Full    bool   `json:"full"`    // whether each new event pushes the oldest one out of the history
	Durable bool   `json:"durable"` // whether the history survives a restart of osctl-eventd
}

// Left returns how many more events may happen before one is lost that is not in the stream. It is
// unknown while the history has room.
func (s *State) Left() (n uint64, known bool) { return s.History - min(s.Backlog, s.History), s.Full }

// Status is the interval of a host's heartbeats in seconds, and its state, nil while osctl-eventd is away.
type Status struct {
	Interval float64
	State    *State
}

const (
	intervalForm = "interval=%g"
	stateForm    = " backlog=%d history=%d full=%t durable=%t"
)

func (s *Status) String() string {
	text := fmt.Sprintf(intervalForm, s.Interval)
	if s.State != nil {
		text += fmt.Sprintf(stateForm, s.State.Backlog, s.State.History, s.State.Full, s.State.Durable)
	}
	return text
}

// parseStatus is the reverse of String. It returns nil for an unknown text, because nothing depends on
// the status.
func parseStatus(text string) *Status {
	s, state := &Status{}, &State{}
	n, _ := fmt.Sscanf(text, intervalForm+stateForm, &s.Interval, &state.Backlog, &state.History, &state.Full, &state.Durable)
	switch n {
	case 0:
		return nil
	case 5:
		s.State = state
	}
	return s
}

// ErrForeign says that a message was not written by a bridge.
var ErrForeign = errors.New("not written by a bridge")

// Head is the parsed header of a message.
type Head struct {
	Cursor  string
	Machine string
	Time    time.Time // of the event at Cursor; zero if unknown
	Status  *Status   // nil if unknown
	Seq     uint64    // of the message in the stream; 0 for none
	Seen    time.Time // when the server received the message; zero if unknown
}

// header returns the head as the header of a message.
func (h *Head) header() nats.Header {
	header := nats.Header{HeaderCursor: {h.Cursor}, HeaderMachine: {h.Machine}}
	if !h.Time.IsZero() {
		header.Set(HeaderTime, strconv.FormatUint(hub.Micros(h.Time), 10))
	}
	if h.Status != nil {
		header.Set(HeaderState, h.Status.String())
	}
	return header
}

// ParseHead parses the header of a message. The server appends its own headers to replies: added is
// how many of each, 0 for a stored message, 1 for the reply to a direct get. Seq and Seen stay zero.
//
// The error is [ErrForeign], and the head is zero, for a message that no bridge wrote: it has no cursor,
// or it is a copy of another message. A client that chooses the reply subject of a request can make the
// server store such a copy on any subject; the copy then has the server's headers.
func ParseHead(header nats.Header, added int) (Head, error) {
	h := Head{Cursor: header.Get(HeaderCursor), Machine: header.Get(HeaderMachine)}
	for _, name := range []string{HeaderCursor, HeaderMachine} {
		if len(header.Values(name)) != 1 {
			return Head{}, fmt.Errorf("%w: %d headers %s", ErrForeign, len(header.Values(name)), name)
		}
	}
	for _, name := range []string{nats.JSStream, nats.JSSubject, nats.JSSequence} {
		if len(header.Values(name)) > added {
			return Head{}, fmt.Errorf("%w: it is a copy of another message, with header %s", ErrForeign, name)
		}
	}
	if _, _, err := hub.ParseCursor(h.Cursor); err != nil {
		return Head{}, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if text := header.Get(HeaderTime); text != "" {
		micros, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return Head{}, fmt.Errorf("%w: header %s: %w", ErrForeign, HeaderTime, err)
		}
		h.Time = time.UnixMicro(micros).UTC()
		if year := h.Time.Year(); year < 0 || year > 9999 { // JSON has no such time
			return Head{}, fmt.Errorf("%w: header %s: the year %d", ErrForeign, HeaderTime, year)
		}
	}
	h.Status = parseStatus(header.Get(HeaderState))
	return h, nil
}

// parseReply is ParseHead for the reply to a direct get. If the error is [ErrForeign], only Seq and Seen
// are set.
func parseReply(header nats.Header) (Head, error) {
	last := func(name string) string {
		values := append([]string{""}, header.Values(name)...)
		return values[len(values)-1]
	}
	seq, err := strconv.ParseUint(last(nats.JSSequence), 10, 64)
	if err != nil {
		return Head{}, fmt.Errorf("parse the server's reply: header %s: %w", nats.JSSequence, err)
	}
	seen, err := time.Parse(time.RFC3339Nano, last(nats.JSTimeStamp))
	if err != nil {
		return Head{}, fmt.Errorf("parse the server's reply: header %s: %w", nats.JSTimeStamp, err)
	}
	h, err := ParseHead(header, 1)
	h.Seq, h.Seen = seq, seen
	return h, err
}
