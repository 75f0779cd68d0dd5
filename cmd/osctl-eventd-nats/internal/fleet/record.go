package fleet

import (
	"encoding/json"
	"fmt"
	"time"
)

// Types of a [Record]. No event has a type that begins with an underscore.
const (
	TypeStart = "_start" // a bridge began to forward: after it the host's events go on at Cursor
	TypeGap   = "_gap"   // the events after From, up to Cursor, are not in the stream
	TypeAlive = "_alive" // a heartbeat of the bridge, though there may be no events
)

// Reasons of a record of type [TypeStart].
const (
	StartNew         = "new"          // nothing is known of this host: it begins at its oldest event
	StartStreamEmpty = "stream_empty" // the stream has nothing of this host any more; nothing is lost
	StartAgain       = "started"      // the bridge was restarted
)

// Reasons of a record of type [TypeGap].
const (
	GapLapped   = "lapped"    // the host's history was shorter than the bridge's absence; Lost is how many
	GapEpoch    = "epoch"     // the host's osctl-eventd began a new history; how many were lost is not known
	GapTooLarge = "too_large" // the server takes no message as large as this event
	GapTakeOver = "take_over" // an administrator let this host go on where another one had written
	GapDropped  = "dropped"   // in no stream, see [Track]: the stream dropped messages before they were read
)

// Record is what a bridge says of itself, in a message of its own.
type Record struct {
	Type     string    `json:"type"`
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"` // for people
	Host     string    `json:"host"`
	Machine  string    `json:"machine"`
	Time     time.Time `json:"time"`
	From     string    `json:"from,omitempty"` // a cursor
	Cursor   string    `json:"cursor"`         // where the host is after this record
	Lost     uint64    `json:"lost,omitempty"` // events, where that is known
	Version  string    `json:"version,omitempty"`
	Interval float64   `json:"interval,omitempty"` // of the heartbeats, in seconds
	State    *State    `json:"state,omitempty"`    // absent while osctl-eventd is away
}

// Line returns the record as one line of JSON.
func (r *Record) Line() ([]byte, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a record: %w", err)
	}
	return append(line, '\n'), nil
}
