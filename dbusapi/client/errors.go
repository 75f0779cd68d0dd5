package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/osctl/eventd/dbusapi/wire"
)

// Error is an error reply of the service or the bus. Its fields are Name, such as [ErrGone], and
// Message, for people. Test for a name with [HasName], or with
// errors.Is(err, &Error{Name: ErrGone}).
type Error = wire.Error

// Names of errors of the service.
const (
	ErrInvalidEvent   = wire.ErrInvalidEvent
	ErrInvalidFilter  = wire.ErrInvalidFilter
	ErrInvalidCursor  = wire.ErrInvalidCursor
	ErrGone           = wire.ErrGone
	ErrTooLarge       = wire.ErrTooLarge
	ErrLimitsExceeded = wire.ErrLimitsExceeded
	ErrShuttingDown   = wire.ErrShuttingDown
)

// HasName reports whether err is an [Error] with this name.
func HasName(err error, name string) bool { return wire.HasName(err, name) }

// callError adds the called method to an error.
type callError struct {
	member string
	err    error
}

func (e *callError) Error() string { return fmt.Sprintf("call %s: %v", e.member, e.err) }

func (e *callError) Unwrap() error { return e.err }

// InvalidEventError names the invalid event of a batch. No event of the batch was reported.
type InvalidEventError struct {
	Index int   // from 0
	Err   error // an [Error] of the service, or a [hub.InvalidEventError]
}

func (e *InvalidEventError) Error() string { return fmt.Sprintf("event %d: %v", e.Index, e.Err) }

// Unwrap returns Err.
func (e *InvalidEventError) Unwrap() error { return e.Err }

// findIndex converts an error of ReportBatch whose message begins with "event N: ", as the interface
// specifies, to an InvalidEventError. If N is not the index of one of the n events, it returns err
// unchanged.
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

// Names of buses for [ResolveAddress], and limits of one ReportBatch.
const (
	BusSystem     = wire.BusSystem
	BusSession    = wire.BusSession
	MaxEvents     = wire.MaxEvents
	MaxBatchBytes = wire.MaxBatchBytes
)
