package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		err  error
		part string
	}{
		{&Error{Name: wire.ErrServiceUnknown}, "is not running on the bus ADDRESS"},
		{&Error{Name: wire.ErrNameHasNoOwner}, "is not running on the bus ADDRESS"},
		{&Error{Name: wire.ErrAccessDenied, Message: "no"}, "not allowed: only root and the group osctl-eventd may read. Join it (usermod -aG"},
		{&callError{"ListContainers", &Error{Name: wire.ErrAccessDenied, Message: "no"}}, "not allowed: only root and the group osctl-eventd may read. "},
		{&callError{"Report", &Error{Name: wire.ErrAccessDenied, Message: "no"}}, "not allowed: only root may report; "},
		{&callError{"ReportBatch", &Error{Name: wire.ErrAccessDenied, Message: "no"}}, "examples/reporter.conf. The bus says: no$"},
		{&Error{Name: wire.ErrNoReply}, "try again"},
		{&callError{"Report", &Error{Name: wire.ErrNoReply}}, "before it answered. Whether the event was taken is not known$"},
		{&callError{"Report", context.DeadlineExceeded}, "Whether the event was taken is not known$"},
		{&callError{"ReportBatch", &Error{Name: wire.ErrNoReply}}, "before it answered$"},
		{&Error{Name: ErrGone, Message: "too old"}, "no longer keeps them"},
		{&Error{Name: ErrInvalidCursor, Message: "no cursor"}, "no cursor"},
		{&Error{Name: ErrTooLarge}, ErrTooLarge},
		{&InvalidEventError{Index: 3, Err: &Error{Name: ErrInvalidEvent, Message: "bad"}}, "event 3: bad$"},
		{&InvalidEventError{Index: 3, Err: &hub.InvalidEventError{Type: "bad"}}, "event 3: "},
		{context.DeadlineExceeded, "or the bus ADDRESS, does not answer"},
		{&Error{Name: ErrShuttingDown}, "is shutting down"},
		{&Error{Name: "org.freedesktop.DBus.Error.Spawn.ExecFailed", Message: "no such file"}, "could not be started: no such file"},
		{&net.OpError{Op: "dial", Err: syscall.ENOENT}, "is the bus running (systemctl status dbus)?"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "is the bus running (systemctl status dbus)?"},
		{&net.OpError{Op: "dial", Err: syscall.EACCES}, "you may not use this bus"},
		{wire.ErrTurnedAway, "at once: the bus may be open to other users only"},
		// Errors about a file of the caller do not come from the bus.
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.ENOENT}, "call: open f: no such file or directory$"},
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.EACCES}, "call: open f: permission denied$"},
		{errors.New("plain"), "plain"},
	} {
		if got := Explain(fmt.Errorf("call: %w", test.err), "ADDRESS"); !strings.Contains(got+"$", test.part) {
			t.Errorf("%#v is explained as %q", test.err, got)
		}
	}
}

// HasName and errors.Is find the name of an error reply.
func TestErrorNames(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	serve(t, bus, apitest.NewHub(t, hub.Config{}))
	_, err := connect(t, bus).Report(apitest.Bounded(t), "X", nil)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Name != ErrInvalidEvent || !strings.Contains(e.Message, `"X"`) ||
		!errors.Is(err, &Error{Name: ErrInvalidEvent}) || errors.Is(err, &Error{Name: ErrGone}) ||
		!HasName(err, ErrInvalidEvent) || HasName(err, ErrGone) || HasName(nil, ErrGone) {
		t.Errorf("error is %#v", err)
	}
}

func TestFindIndex(t *testing.T) {
	const events = 3
	for _, test := range []struct {
		message string
		index   int // -1 if the error stays unchanged
		rest    string
	}{
		{"event 0: bad", 0, "bad"},
		{"event 2: option \"a: b\": bad", 2, "option \"a: b\": bad"},
		{"event 1: event 2: bad", 1, "event 2: bad"},
		{"event 1: ", 1, ""},
		{"event 3: not one of them", -1, ""},
		{"event 99999999999999999999: x", -1, ""},
		{"event 4294967296: x", -1, ""},
		{"event 18446744073709551617: x", -1, ""},
		{"event -1: x", -1, ""},
		{"event +1: x", -1, ""},
		{"event  1: x", -1, ""},
		{"event 1 : x", -1, ""},
		{"event 0x1: x", -1, ""},
		{"event 1_0: x", -1, ""},
		{"event ١: x", -1, ""},
		{"event : x", -1, ""},
		{"event 1", -1, ""},
		{"event 1:x", -1, ""},
		{"Event 1: x", -1, ""},
		{" event 1: x", -1, ""},
		{"1: x", -1, ""},
		{"", -1, ""},
	} {
		err := fmt.Errorf("call: %w", &Error{Name: ErrTooLarge, Message: test.message})
		got := findIndex(err, events)
		invalid, found := errors.AsType[*InvalidEventError](got)
		switch {
		case !HasName(got, ErrTooLarge):
			t.Errorf("%q lost its name: %v", test.message, got)
		case test.index < 0 && (found || got.Error() != err.Error()):
			t.Errorf("%q became %#v", test.message, got)
		case test.index >= 0 && (!found || invalid.Index != test.index || invalid.Err.Error() != (&Error{Name: ErrTooLarge, Message: test.rest}).Error()):
			t.Errorf("%q became %#v", test.message, got)
		}
	}
	if _, found := errors.AsType[*InvalidEventError](findIndex(errors.New("event 1: x"), events)); found {
		t.Error("an error that is no reply was converted")
	}
}

// If an event of a batch is invalid, the error has its index, and no event is reported.
func TestReportBatchIndex(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := connect(t, bus)
		good := Report{Type: "x", Options: apitest.Options("a", "b")}
		for _, test := range []struct {
			what  string
			bad   Report
			local bool   // refused before the call
			name  string // of the error of the service
		}{
			{"type that is not UTF-8", Report{Type: "x\xff"}, true, ""},
			{"type with NUL", Report{Type: "x\x00"}, true, ""},
			{"option that is not UTF-8", Report{Type: "x", Options: apitest.Options("a", "\xff")}, true, ""},
			{"type that is no name", Report{Type: "X"}, false, ErrInvalidEvent},
			{"state without its options", Report{Type: hub.TypeState}, false, ErrInvalidEvent},
			{"large event", Report{Type: "x", Options: apitest.Options("a", strings.Repeat("x", 70_000))}, false, ErrTooLarge},
		} {
			first, err := c.ReportBatch(apitest.Bounded(t), []Report{good, good, test.bad, good})
			invalid, ok := errors.AsType[*InvalidEventError](err)
			if !ok || invalid.Index != 2 || first != 0 || strings.Contains(invalid.Err.Error(), "event 2: ") {
				t.Errorf("%s: %d, %#v", test.what, first, err)
				continue
			}
			_, local := errors.AsType[*hub.InvalidEventError](err)
			if local != test.local || !local && !HasName(err, test.name) {
				t.Errorf("%s: %#v", test.what, invalid.Err)
			}
		}
		if last := h.Status().Last; last != 0 {
			t.Errorf("%d events were reported", last)
		}
	})
}

// A reply with too few numbers is an error.
func TestReportBatchReply(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	answerCalls(t, bus, func(*bustest.Message) *bustest.Message {
		b := new(bustest.Body).Array(8, func(b *bustest.Body) { b.Uint64(7) })
		return &bustest.Message{Type: bustest.TypeReturn, Signature: "at", Body: b.Bytes()}
	})
	c := connect(t, bus)
	if first, err := c.ReportBatch(apitest.Bounded(t), make([]Report, 1)); err != nil || first != 7 {
		t.Errorf("one event: %d, %v", first, err)
	}
	if first, err := c.ReportBatch(apitest.Bounded(t), make([]Report, 2)); err == nil {
		t.Errorf("two events: %d", first)
	}
}
