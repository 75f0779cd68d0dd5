package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/osctl/eventd/dbusapi/wire"
)

// Error is an error that the service or the bus replied with: its fields are Name, as
// [ErrGone], and Message, for people. [HasName] finds one by its name, and so does
// errors.Is(err, &Error{Name: ErrGone}).
type Error = wire.Error

// Names of errors that the service replies with.
const (
	ErrInvalidEvent   = wire.ErrInvalidEvent
	ErrInvalidFilter  = wire.ErrInvalidFilter
	ErrInvalidCursor  = wire.ErrInvalidCursor
	ErrGone           = wire.ErrGone
	ErrTooLarge       = wire.ErrTooLarge
	ErrLimitsExceeded = wire.ErrLimitsExceeded
	ErrShuttingDown   = wire.ErrShuttingDown
)

// HasName reports whether err is an [Error] of that name.
func HasName(err error, name string) bool { return wire.HasName(err, name) }

// callError says which method was called.
type callError struct {
	member string
	err    error
}

func (e *callError) Error() string { return fmt.Sprintf("call %s: %v", e.member, e.err) }

func (e *callError) Unwrap() error { return e.err }

// InvalidEventError says which event of a batch is at fault. None of the batch was reported.
type InvalidEventError struct {
	Index int   // from 0
	Err   error // what is wrong with it: an [Error] of the service, or a [hub.InvalidEventError]
}

func (e *InvalidEventError) Error() string { return fmt.Sprintf("event %d: %v", e.Index, e.Err) }

// Unwrap returns what is wrong with the event.
func (e *InvalidEventError) Unwrap() error { return e.Err }

// findIndex turns an error of ReportBatch whose message begins with "event N: ", as the
// interface promises, into an InvalidEventError. Where N is not the number of one of the n
// events, it returns the error as it is.
func findIndex(err error, n int) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	rest, found := strings.CutPrefix(e.Message, "event ")
	number, message, cut := strings.Cut(rest, ": ")
	index, parseErr := strconv.ParseUint(number, 10, 31) // no sign, no prefix
	if !found || !cut || parseErr != nil || int(index) >= n {
		return err
	}
	return &InvalidEventError{Index: int(index), Err: &Error{Name: e.Name, Message: message}}
}

// ResolveAddress returns the D-Bus address of a bus: "system", "session", or an address.
func ResolveAddress(bus string) (string, error) { return wire.ResolveAddress(bus) }

// Buses that [ResolveAddress] knows by name, and limits of one ReportBatch.
const (
	BusSystem     = wire.BusSystem
	BusSession    = wire.BusSession
	MaxEvents     = wire.MaxEvents
	MaxBatchBytes = wire.MaxBatchBytes
)
