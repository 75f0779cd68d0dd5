package dbusapi

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

func TestErrorNames(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&wire.Error{Name: "a.b"}, "a.b"},
		{&hub.InvalidEventError{}, wire.ErrInvalidEvent},
		{&hub.TooLargeError{}, wire.ErrTooLarge},
		{&hub.InvalidFilterError{}, wire.ErrInvalidFilter},
		{&hub.InvalidCursorError{}, wire.ErrInvalidCursor},
		{&hub.GoneError{}, wire.ErrGone},
		{&hub.LappedError{}, wire.ErrGone},
		{hub.ErrClosed, wire.ErrShuttingDown},
		{context.DeadlineExceeded, wire.ErrTimeout},
		{errors.New("x"), wire.ErrFailed},
	} {
		if got := toError(fmt.Errorf("wrapped: %w", test.err)); got.Name != test.want {
			t.Errorf("%T becomes %s, want %s", test.err, got.Name, test.want)
		}
	}
}
