// Package apitest has helpers for tests of the service and of its clients: to wait for conditions, make
// events and calls, and receive signals.
package apitest

import (
	"context"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Patience is how long a test waits for an expected condition. It is longer than any takes, and several
// failing tests still fit into the 20 minutes of a package.
const Patience = 2 * time.Minute

// EachBus runs a test on both buses.
func EachBus(t *testing.T, test func(t *testing.T, bus *bustest.Bus)) {
	t.Helper()
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) { test(t, bustest.Start(t, kind, bustest.PolicyOpen)) })
	}
}

// EachParallel is [EachBus] for parallel tests.
func EachParallel(t *testing.T, test func(t *testing.T, bus *bustest.Bus)) {
	t.Helper()
	t.Parallel()
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			test(t, bustest.Start(t, kind, bustest.PolicyOpen))
		})
	}
}

// Bounded returns the test's context with a deadline.
func Bounded(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	tb.Cleanup(cancel)
	return ctx
}

// Eventually polls until ok returns true, and fails the test after [Patience].
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := Bounded(tb); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatal("timeout:", what)
		}
	}
}

// Await waits until a channel has a value or is closed, and fails the test after [Patience].
func Await[T any](tb testing.TB, what string, ch <-chan T) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		tb.Fatal("timeout:", what)
		panic("unreachable")
	}
}

// NewHub returns a hub.
func NewHub(tb testing.TB, config hub.Config) *hub.Hub {
	tb.Helper()
	h, err := hub.New(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// Options returns string options from alternating names and values.
func Options(pairs ...string) hub.Options {
	var o hub.Options
	for i := 0; i < len(pairs); i += 2 {
		o = append(o, hub.Option{Name: pairs[i], Value: hub.String(pairs[i+1])})
	}
	return o
}

// Only returns a filter from alternating keys and values.
func Only(tb testing.TB, pairs ...string) hub.Filter {
	tb.Helper()
	var f hub.Filter
	for i := 0; i < len(pairs); i += 2 {
		var err error
		if f, err = f.With(pairs[i], pairs[i+1]); err != nil {
			tb.Fatal(err)
		}
	}
	return f
}

// Commit commits n events of a type to the hub, one at a time.
func Commit(tb testing.TB, h *hub.Hub, n int, typ string, pairs ...string) (last uint64) {
	tb.Helper()
	for range n {
		e, err := hub.NewEvent(typ, Options(pairs...), "test")
		if err != nil {
			tb.Fatal(err)
		}
		if last, err = h.Commit(hub.Batch{Events: []*hub.Event{e}}); err != nil {
			tb.Fatal(err)
		}
	}
	return last
}

// MethodCall returns a call of the service with a body.
func MethodCall(member, signature string, body *bustest.Body) *bustest.Message {
	m := bustest.MethodCall(wire.Name, wire.Path, wire.Interface, member)
	if body != nil {
		m.Signature, m.Body, m.BigEndian = signature, body.Bytes(), body.BigEndian
	}
	return m
}

// ReportCall returns a call of Report with string options.
func ReportCall(typ string, pairs ...string) *bustest.Message {
	return MethodCall("Report", "sa{sv}", new(bustest.Body).String(typ).Dict(pairs...))
}

// WaitCall returns a call of WaitEvents without a limit, with a filter of strings.
func WaitCall(cursor string, timeout uint32, pairs ...string) *bustest.Message {
	return MethodCall("WaitEvents", "sa{sv}uu", new(bustest.Body).String(cursor).Dict(pairs...).Uint32(0).Uint32(timeout))
}

// WantError expects an error with this name, of a bustest.Client or a client.Client.
func WantError(tb testing.TB, err error, name string) {
	tb.Helper()
	if bustest.ErrorName(err) != name && !wire.HasName(err, name) {
		tb.Fatalf("error is %v, want %s", err, name)
	}
}

// OK makes a call, expects no error, and returns the reply.
func OK(tb testing.TB, c *bustest.Client, m *bustest.Message) *bustest.Message {
	tb.Helper()
	reply, err := c.Call(Bounded(tb), m)
	if err != nil {
		tb.Fatalf("%s.%s: %v", m.Interface, m.Member, err)
	}
	return reply
}

// Body returns a decoder for the body of a message.
func Body(m *bustest.Message) *wire.Decoder { return wire.NewDecoder(string(m.Body), m.BigEndian) }

// Epoch returns the epoch of a hub.
func Epoch(h *hub.Hub) string {
	status := h.Status()
	return status.Epoch
}
