package dbusapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestClient(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		if seq, err := c.Report(bounded(t), "x", options("a", "b")); err != nil || seq != 1 {
			t.Errorf("Report = %d, %v", seq, err)
		}
		if first, err := c.ReportBatch(bounded(t), []Report{{"y", nil}, {"z", options("id", "7")}}); err != nil || first != 2 {
			t.Errorf("ReportBatch = %d, %v", first, err)
		}
		if first, err := c.ReportBatch(bounded(t), nil); err != nil || first != 0 {
			t.Errorf("ReportBatch of nothing = %d, %v", first, err)
		}
		next, events, err := c.WaitEvents(bounded(t), hub.CursorOldest, hub.Filter{}, 2, 0)
		if err != nil || next != hub.FormatCursor(epoch(h), 2) || len(events) != 2 || events[0].Options.Text("a") != "b" || events[1].Type != "y" {
			t.Errorf("WaitEvents = %s, %v, %v", next, events, err)
		}
		_, err = c.Report(bounded(t), "X", nil)
		var e *Error
		if !errors.As(err, &e) || e.Name != ErrInvalidEvent || !strings.Contains(e.Message, `"X"`) ||
			!errors.Is(err, &Error{Name: ErrInvalidEvent}) || errors.Is(err, &Error{Name: ErrGone}) {
			t.Errorf("error is %#v", err)
		}
		_, _, err = c.WaitEvents(bounded(t), "other:1", hub.Filter{}, 0, 0)
		wantError(t, err, ErrGone)
		properties, err := c.Properties(bounded(t))
		if err != nil || properties.Text("Version") != "1.2.3" || properties.Text("Cursor") != hub.FormatCursor(epoch(h), 3) {
			t.Errorf("Properties = %v, %v", properties, err)
		}
		if v, ok := properties.Get("Counters"); !ok || v.Type() != "a{st}" {
			t.Errorf("Counters are %v", v)
		}
		ctx, cancel := context.WithCancel(bounded(t))
		cancel()
		if _, err := c.Report(ctx, "x", nil); !errors.Is(err, context.Canceled) {
			t.Error("a call with a context that ended:", err)
		}
		// The next one is answered after it, had it been made.
		if seq, err := c.Report(bounded(t), "x", nil); err != nil || seq != 4 {
			t.Errorf("the call after one with a context that ended = %d, %v", seq, err)
		}
	})
}

func TestManyCallersOfOneClient(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		const callers, calls = 20, 50
		var wg sync.WaitGroup
		var mu sync.Mutex
		var numbers []uint64
		ctx := bounded(t)
		for range callers {
			wg.Go(func() {
				for range calls {
					seq, err := c.Report(ctx, "x", nil)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					numbers = append(numbers, seq)
					mu.Unlock()
				}
			})
			wg.Go(func() {
				if _, err := c.Properties(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(numbers)
		wantRun(t, numbers, 1, callers*calls)
	})
}

func TestClientLosesTheBus(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		s := serve(t, bus, newHub(t, hub.Config{}))
		c, closed := dial(t, bus), dial(t, bus)
		pending, ended := pull(t, c, "", hub.Filter{}, time.Hour), pull(t, closed, "", hub.Filter{}, time.Hour)
		s.untilPending(t, 2)
		closed.Close()
		if w := await(t, "the pending call", ended); w.err == nil {
			t.Error("a pending call survived Close")
		}
		await(t, "Done", closed.Done())
		bus.Kill()
		if w := await(t, "the pending call", pending); w.err == nil {
			t.Error("a pending call survived the bus")
		}
		await(t, "Done", c.Done())
		if _, err := c.Report(bounded(t), "x", nil); err == nil {
			t.Error("a call without a bus succeeded")
		}
		_, err := Dial(bounded(t), bus.Address())
		if err == nil || !strings.Contains(err.Error(), bus.Address()) {
			t.Error("Dial without a bus:", err)
		}
	})
}

// A call ends with its context, whether or not the bus takes anything.
func TestClientOfStoppedBus(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, newHub(t, hub.Config{}))
		c := dial(t, bus)
		bus.Stop()
		defer bus.Cont()
		ctx, cancel := context.WithCancel(bounded(t))
		defer cancel()
		var wg sync.WaitGroup
		for range 60 { // more than socket and outbox take
			wg.Go(func() {
				if _, err := c.Report(ctx, "x", options("a", strings.Repeat("y", 60_000))); !errors.Is(err, context.Canceled) {
					t.Error("a call to a stopped bus:", err)
				}
			})
		}
		eventually(t, "the outbox is full", func() bool {
			c.conn.out.mu.Lock()
			defer c.conn.out.mu.Unlock()
			return len(c.conn.out.replies) >= outboxHigh
		})
		cancel()
		wg.Wait()
		dialing, stop := context.WithTimeout(bounded(t), 50*time.Millisecond)
		defer stop()
		if _, err := Dial(dialing, bus.Address()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("Dial of a stopped bus:", err)
		}
	})
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		err  error
		part string
	}{
		{&Error{Name: errServiceUnknown}, "is not running on the bus ADDRESS"},
		{&Error{Name: errNameHasNoOwner}, "is not running on the bus ADDRESS"},
		{&Error{Name: errAccessDenied, Message: "no"}, "not allowed: no."},
		{&Error{Name: errNoReply}, "try again"},
		{&Error{Name: ErrGone, Message: "too old"}, "no longer keeps them"},
		{&Error{Name: ErrInvalidCursor, Message: "no cursor"}, "no cursor"},
		{&Error{Name: ErrTooLarge}, ErrTooLarge},
		{context.DeadlineExceeded, "or the bus ADDRESS, does not answer"},
		{&Error{Name: ErrShuttingDown}, "is shutting down"},
		{&Error{Name: "org.freedesktop.DBus.Error.Spawn.ExecFailed", Message: "no such file"}, "could not be started: no such file"},
		{&net.OpError{Op: "dial", Err: syscall.ENOENT}, "is the bus running (systemctl status dbus)?"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "is the bus running (systemctl status dbus)?"},
		{&net.OpError{Op: "dial", Err: syscall.EACCES}, "closed to you"},
		{errTurnedAway, "at once: it may be open to other users only"},
		// Errors about a file of the caller have nothing to do with the bus.
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.ENOENT}, "call: open f: no such file or directory$"},
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.EACCES}, "call: open f: permission denied$"},
		{errors.New("plain"), "plain"},
	} {
		if got := Explain(fmt.Errorf("call: %w", test.err), "ADDRESS"); !strings.Contains(got+"$", test.part) {
			t.Errorf("%#v is explained as %q", test.err, got)
		}
	}
}

func TestErrorNames(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&Error{Name: "a.b"}, "a.b"},
		{&hub.InvalidEventError{}, ErrInvalidEvent},
		{&hub.TooLargeError{}, ErrTooLarge},
		{&hub.InvalidFilterError{}, ErrInvalidFilter},
		{&hub.InvalidCursorError{}, ErrInvalidCursor},
		{&hub.GoneError{}, ErrGone},
		{&hub.LappedError{}, ErrGone},
		{hub.ErrClosed, ErrShuttingDown},
		{context.DeadlineExceeded, errTimeout},
		{errors.New("x"), errFailed},
	} {
		if got := toError(fmt.Errorf("wrapped: %w", test.err)); got.Name != test.want {
			t.Errorf("%T goes out as %s, want %s", test.err, got.Name, test.want)
		}
	}
}

// Of as many calls as anybody makes at a time none is refused by the bus, and one that has
// to wait for others can be given up, or ends with the connection.
func TestClientManyCalls(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		c := dial(t, bus)
		const calls = 10 * busLimit
		var wg sync.WaitGroup
		report := func() {
			if _, err := c.Report(bounded(t), "x", nil); err != nil {
				t.Error("Report:", err)
			}
		}
		for range calls / 2 {
			wg.Go(report)
			wg.Go(func() {
				if _, _, err := c.WaitEvents(bounded(t), "", hub.Filter{}, 0, 0); err != nil {
					t.Error("WaitEvents:", err)
				}
			})
		}
		wg.Wait()
		var waits []<-chan waited
		for range MaxWaits {
			waits = append(waits, pull(t, c, "", only(t, "type", "never"), time.Hour))
		}
		s.untilPending(t, MaxWaits)
		for range calls / 2 {
			wg.Go(report)
		}
		wg.Wait()
		if last := h.Status().Last; last != calls {
			t.Errorf("%d events were taken", last)
		}
		for range clientCalls {
			c.slots <- struct{}{}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Report(ctx, "x", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("a call that was given up:", err)
		}
		late := make(chan error, 1)
		go func() {
			_, err := c.Properties(bounded(t))
			late <- err
		}()
		c.Close()
		if err := await(t, "the call", late); !errors.Is(err, errOutboxClosed) {
			t.Error("a call on a connection that is closed:", err)
		}
		for _, w := range waits {
			if w := await(t, "the pull", w); w.err == nil {
				t.Error("a pull on a connection that is closed ended without an error")
			}
		}
	})
}
