package fleet

import (
	"encoding/json"
	"fmt"
	"time"
)

// Types of a [Record]. No event has a type that begins with an underscore.
const (
	TypeStart = "_start" // a bridge started: the host's events continue after Cursor
	TypeGap   = "_gap"   // the events after From, up to Cursor, are missing
	TypeAlive = "_alive" // a heartbeat of the bridge
)

// Reasons of a record of type [TypeStart].
const (
	StartNew         = "new"          // the host is new: it begins at its oldest event
	StartStreamEmpty = "stream_empty" // the stream has no message of the host any more; nothing is lost
	StartAgain       = "started"      // the bridge was restarted
)

// Reasons of a record of type [TypeGap].
const (
	GapLapped   = "lapped"    // the host's history was too short while the bridge was away; Lost is the number
	GapEpoch    = "epoch"     // the host's osctl-eventd began a new history; the number is unknown
	GapTooLarge = "too_large" // the event is larger than the server accepts
	GapTakeOver = "take_over" // an administrator let this machine replace another one
	GapDropped  = "dropped"   // only from [Track]: the stream dropped messages before they were read
)

// Record is a message of a bridge about itself or its host.
type Record struct {
	Type     string    `json:"type"`
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"` // for people
	Host     string    `json:"host"`
	Machine  string    `json:"machine"`
	Time     time.Time `json:"time"`
	From     string    `json:"from,omitempty"` // a cursor
	Cursor   string    `json:"cursor"`         // of the host after this record
	Lost     uint64    `json:"lost,omitempty"` // number of events, 0 if unknown
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
