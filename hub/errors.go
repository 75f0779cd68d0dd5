package hub

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by calls on a hub or subscription that was closed.
var ErrClosed = errors.New("hub: closed")

// ErrBusy is returned by [Hub.Submit] when the queue of commits is full.
var ErrBusy = errors.New("hub: the queue of commits is full")

// InvalidEventError says what is wrong with an event.
type InvalidEventError struct {
	Type     string // type of the event, as reported
	Option   string // the invalid option; "" if the type itself is invalid
	Got      string // the reported value; "" if the option is missing
	Expected string
}

func (e *InvalidEventError) Error() string {
	switch {
	case e.Option == "":
		return fmt.Sprintf("event type %q: got %s, expected %s", clip(e.Type), e.Got, e.Expected)
	case e.Got == "":
		return fmt.Sprintf("event of type %q, option %q: missing; expected %s", clip(e.Type), clip(e.Option), e.Expected)
	}
	return fmt.Sprintf("event of type %q, option %q: got %s, expected %s", clip(e.Type), clip(e.Option), e.Got, e.Expected)
}

// TooLargeError says which limit is exceeded.
type TooLargeError struct {
	What  string // the limited quantity, like "options of one event"
	Got   int    // the actual number, at least
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("too large: %d %s, the limit is %d", e.Got, e.What, e.Limit)
}

// InvalidFilterError says what is wrong with a filter.
type InvalidFilterError struct {
	Key    string // the invalid key
	Reason string
}

func (e *InvalidFilterError) Error() string {
	return fmt.Sprintf("filter key %q: %s", clip(e.Key), e.Reason)
}

// InvalidCursorError says what is wrong with a cursor.
type InvalidCursorError struct {
	Cursor string
	Reason string
}

func (e *InvalidCursorError) Error() string {
	return fmt.Sprintf("cursor %q: %s", clip(e.Cursor), e.Reason)
}

// GoneError says that the events after a cursor are no longer kept.
type GoneError struct {
	Cursor string
	Oldest string // cursor before the oldest event that is kept
	Reason string
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("cursor %q: %s; list again and go on from there, or from %q", clip(e.Cursor), e.Reason, e.Oldest)
}

// LappedError tells a subscriber that it was too slow: the ring dropped events before it read
// them. The subscription continues with the oldest event that is kept.
type LappedError struct {
	First, Last uint64 // the sequence numbers lost, both included
}

// Lost returns how many sequence numbers were lost. With a filter, fewer events may be lost, because
// some of them may not have matched.
func (e *LappedError) Lost() uint64 { return e.Last - e.First + 1 }

func (e *LappedError) Error() string {
	return fmt.Sprintf("lapped: lost %d events, %d to %d", e.Lost(), e.First, e.Last)
}

// clip shortens text from outside for a message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
