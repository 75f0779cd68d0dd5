package dbusapi

import (
	"context"
	"errors"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// toError converts an error to one with a D-Bus name.
func toError(err error) *wire.Error {
	var (
		own     *wire.Error
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
		return &wire.Error{Name: wire.ErrInvalidEvent, Message: message}
	case errors.As(err, &large):
		return &wire.Error{Name: wire.ErrTooLarge, Message: message}
	case errors.As(err, &filter):
		return &wire.Error{Name: wire.ErrInvalidFilter, Message: message}
	case errors.As(err, &cursor):
		return &wire.Error{Name: wire.ErrInvalidCursor, Message: message}
	case errors.As(err, &gone), errors.As(err, &lapped):
		return &wire.Error{Name: wire.ErrGone, Message: message}
	case errors.Is(err, hub.ErrClosed):
		return &wire.Error{Name: wire.ErrShuttingDown, Message: "the service is shutting down"}
	case errors.Is(err, context.DeadlineExceeded):
		return &wire.Error{Name: wire.ErrTimeout, Message: message}
	}
	return &wire.Error{Name: wire.ErrFailed, Message: message}
}
