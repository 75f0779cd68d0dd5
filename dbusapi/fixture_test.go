package dbusapi

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// patience is how long a test waits for what must happen. Nothing takes that long.
const patience = 4 * time.Minute

// soon is how long waits of somebody who left may stay: they end by themselves after
// twice that.
const soon = MaxTimeout * time.Millisecond / 2

// eachBus runs a test on both buses.
func eachBus(t *testing.T, test func(t *testing.T, bus *bustest.Bus)) {
	t.Helper()
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) { test(t, bustest.Start(t, kind, bustest.PolicyOpen)) })
	}
}

// eachParallel is eachBus for tests that do not mind others beside them.
func eachParallel(t *testing.T, test func(t *testing.T, bus *bustest.Bus)) {
	t.Helper()
	t.Parallel()
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			test(t, bustest.Start(t, kind, bustest.PolicyOpen))
		})
	}
}

// bounded is the test's context with a deadline.
func bounded(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// eventually asks until ok says so.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := bounded(tb); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatal("not so in time:", what)
		}
	}
}

// await waits for a channel to be closed, or to give something.
func await[T any](tb testing.TB, what string, ch <-chan T) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		tb.Fatal("not so in time:", what)
		panic("unreachable")
	}
}

func newHub(tb testing.TB, config hub.Config) *hub.Hub {
	tb.Helper()
	h, err := hub.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// served is a service that runs until the test ends or stop is called.
type served struct {
	*Service
	cancel context.CancelFunc
	ended  chan error // what Run returned, once
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// launch runs a service without waiting for its name. It may be changed before that.
func launch(tb testing.TB, config Config, changes ...func(*Service)) *served {
	tb.Helper()
	config.Log = quiet()
	config.Version = "1.2.3"
	service, err := New(config)
	if err != nil {
		tb.Fatal(err)
	}
	for _, change := range changes {
		change(service)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	s := &served{Service: service, cancel: cancel, ended: make(chan error, 1)}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.ended <- service.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		select {
		case <-gone:
		case <-time.After(patience):
			tb.Error("Run did not end")
		}
	})
	return s
}

// serve runs a service for a hub on a bus and waits until it owns the name.
func serve(tb testing.TB, bus *bustest.Bus, h *hub.Hub) *served {
	tb.Helper()
	return serveWith(tb, Config{Hub: h, Address: bus.Address()})
}

func serveWith(tb testing.TB, config Config) *served {
	tb.Helper()
	s := launch(tb, config)
	select {
	case <-s.Ready():
	case err := <-s.ended:
		tb.Fatal("the service ended:", err)
	case <-time.After(patience):
		tb.Fatal("the service is not ready in time")
	}
	return s
}

// stop ends the service and returns what Run returned.
func (s *served) stop(tb testing.TB) error {
	tb.Helper()
	s.cancel()
	return await(tb, "Run ends", s.ended)
}

// dial connects a client of the package.
func dial(tb testing.TB, bus *bustest.Bus) *Client {
	tb.Helper()
	c, err := Dial(bounded(tb), bus.Address())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// options makes options of strings from alternating names and values.
func options(pairs ...string) hub.Options {
	var o hub.Options
	for i := 0; i < len(pairs); i += 2 {
		o = append(o, hub.Option{Name: pairs[i], Value: hub.String(pairs[i+1])})
	}
	return o
}

// only makes a filter of one value for each key.
func only(tb testing.TB, pairs ...string) hub.Filter {
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

// commit commits n events of a type straight into the hub, one at a time.
func commit(tb testing.TB, h *hub.Hub, n int, typ string, pairs ...string) (last uint64) {
	tb.Helper()
	for range n {
		e, err := hub.NewEvent(typ, options(pairs...), "test")
		if err != nil {
			tb.Fatal(err)
		}
		if last, err = h.Commit(hub.Batch{Events: []*hub.Event{e}}); err != nil {
			tb.Fatal(err)
		}
	}
	return last
}

// sourceOf is the source of events that this process reports as a user.
func sourceOf(uid int) string {
	if unit := unitOf(uint32(os.Getpid())); unit != "" && uid == os.Getuid() {
		return unit
	}
	return "uid:" + strconv.Itoa(uid)
}

// method is a call of the service with a body.
func methodCall(member, signature string, body *bustest.Body) *bustest.Message {
	m := bustest.MethodCall(Name, Path, Interface, member)
	if body != nil {
		m.Signature, m.Body, m.BigEndian = signature, body.Bytes(), body.BigEndian
	}
	return m
}

// reportCall is a call of Report with options that are strings.
func reportCall(typ string, pairs ...string) *bustest.Message {
	return methodCall("Report", "sa{sv}", new(bustest.Body).String(typ).Dict(pairs...))
}

// waitCall is a call of WaitEvents for any number; the filter is of strings.
func waitCall(cursor string, timeout uint32, pairs ...string) *bustest.Message {
	return methodCall("WaitEvents", "sa{sv}uu", new(bustest.Body).String(cursor).Dict(pairs...).Uint32(0).Uint32(timeout))
}

// wantError expects an error of that name, from a raw client or from a Client.
func wantError(tb testing.TB, err error, name string) {
	tb.Helper()
	if bustest.ErrorName(err) != name && !HasName(err, name) {
		tb.Fatalf("error is %v, want %s", err, name)
	}
}

// ok calls and expects no error.
func ok(tb testing.TB, c *bustest.Client, m *bustest.Message) *bustest.Message {
	tb.Helper()
	reply, err := c.Call(bounded(tb), m)
	if err != nil {
		tb.Fatalf("%s.%s: %v", m.Interface, m.Member, err)
	}
	return reply
}

func body(m *bustest.Message) *wire.Decoder { return wire.NewDecoder(string(m.Body), m.BigEndian) }

// parseEvent reads an event of the type of the signal's body.
func parseEvent(d *wire.Decoder) *hub.Event {
	e := &hub.Event{
		Type: d.String(), Action: d.String(), Pool: d.String(), ID: d.String(), Source: d.String(),
		Seq: d.Uint64(), Time: time.UnixMicro(int64(d.Uint64())),
	}
	for items := d.Value("a{sv}", 64).Items(); len(items) >= 2; items = items[2:] {
		e.Options = append(e.Options, hub.Option{Name: items[0].Text(), Value: items[1].Items()[0]})
	}
	return e
}
