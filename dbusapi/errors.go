package dbusapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/osctl/eventd/hub"
)

// Error is an error that came, or goes, over the bus.
type Error struct {
	Name    string // like [ErrGone]
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Message
}

// Is reports whether target is an Error of the same name, so that
// errors.Is(err, &Error{Name: ErrGone}) works.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Name == e.Name
}

// HasName reports whether err is an [Error] of that name.
func HasName(err error, name string) bool {
	var e *Error
	return errors.As(err, &e) && e.Name == name
}

func errorf(name, format string, args ...any) *Error {
	return &Error{Name: name, Message: fmt.Sprintf(format, args...)}
}

// toError finds the name under which an error goes over the bus.
func toError(err error) *Error {
	var (
		own     *Error
		event   *hub.InvalidEventError
		large   *hub.TooLargeError
		filter  *hub.InvalidFilterError
		cursor  *hub.InvalidCursorError
		gone    *hub.GoneError
		lapped  *hub.LappedError
		message = err.Error()
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &event):
		return &Error{ErrInvalidEvent, message}
	case errors.As(err, &large):
		return &Error{ErrTooLarge, message}
	case errors.As(err, &filter):
		return &Error{ErrInvalidFilter, message}
	case errors.As(err, &cursor):
		return &Error{ErrInvalidCursor, message}
	case errors.As(err, &gone), errors.As(err, &lapped):
		return &Error{ErrGone, message}
	case errors.Is(err, hub.ErrClosed):
		return &Error{ErrShuttingDown, "the service is shutting down"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{errTimeout, message}
	}
	return &Error{errFailed, message}
}
