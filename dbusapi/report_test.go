package dbusapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// batchCall returns a ReportBatch of n events, which build appends.
func batchCall(n int, build func(b *bustest.Body, i int)) *bustest.Message {
	return apitest.MethodCall("ReportBatch", "a(sa{sv})", new(bustest.Body).Array(8, func(b *bustest.Body) {
		for i := range n {
			b.Align(8)
			build(b, i)
		}
	}))
}

func TestReportNumbers(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := bus.ClientAs(t, 0)
		for want := range uint64(3) {
			m := apitest.OK(t, c, apitest.ReportCall("x"))
			if got := apitest.Body(m).Uint64(); m.Signature != "t" || got != want+1 {
				t.Fatalf("Report = %q %d, want %d", m.Signature, got, want+1)
			}
		}
		m := apitest.OK(t, c, batchCall(1024, func(b *bustest.Body, _ int) { b.String("x").Dict() }))
		var numbers []uint64
		for _, v := range apitest.Body(m).Value("at", 1).Items() {
			numbers = append(numbers, v.Uint())
		}
		apitest.WantRun(t, numbers, 4, 4+1023)
		if m := apitest.OK(t, c, batchCall(0, nil)); m.Signature != "at" || len(apitest.Body(m).Value("at", 1).Items()) != 0 {
			t.Errorf("an empty batch was answered with %q", m.Body)
		}
		silent := apitest.ReportCall("x")
		silent.Flags, silent.Serial = bustest.FlagNoReply, c.NextSerial()
		wrong := apitest.ReportCall("X")
		wrong.Flags, wrong.Serial = bustest.FlagNoReply, c.NextSerial()
		if err := c.Send(apitest.Bounded(t), append(silent.Marshal(), wrong.Marshal()...)); err != nil {
			t.Fatal(err)
		}
		if got := apitest.Body(apitest.OK(t, c, apitest.ReportCall("x"))).Uint64(); got != 1029 {
			t.Errorf("after a report without reply the number is %d, want 1029", got)
		}
	})
}

// nested returns the body of a report with n nested arrays.
func nested(n int) *bustest.Body {
	return new(bustest.Body).String("x").Array(8, func(b *bustest.Body) {
		b.Align(8).String("deep").Signature(strings.Repeat("a", n) + "i")
		var array func(b *bustest.Body, n int)
		array = func(b *bustest.Body, n int) {
			b.Array(4, func(b *bustest.Body) {
				if n > 1 {
					array(b, n-1)
				}
			})
		}
		array(b, n)
	})
}

// nestedVariants returns the body of a report with n nested variants.
func nestedVariants(n int) *bustest.Body {
	return new(bustest.Body).String("x").Array(8, func(b *bustest.Body) {
		b.Align(8).String("deep")
		for range n {
			b.Signature("v")
		}
		b.Signature("y").Byte(1)
	})
}

func TestRefusedReports(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		c := bus.ClientAs(t, 0)
		number := func(key string) *bustest.Body {
			return new(bustest.Body).String("state").Array(8, func(b *bustest.Body) {
				b.Align(8).String(key).Variant("u", func(b *bustest.Body) { b.Uint32(7) })
			})
		}
		var many []string
		for i := range 65 {
			many = append(many, fmt.Sprintf("o%d", i), "")
		}
		big := strings.Repeat("x", 64<<10+1)
		good := func(b *bustest.Body) { b.String("x").Dict() }
		tests := []struct {
			call  *bustest.Message
			name  string
			parts []string // of the message
		}{
			{apitest.ReportCall("Bad Type"), wire.ErrInvalidEvent, []string{`"Bad Type"`, "expected a type that matches [a-z]"}},
			{apitest.ReportCall("state", "pool", "p", "id", "1"), wire.ErrInvalidEvent, []string{`"state"`, `option "state"`, "missing; expected a string"}},
			{apitest.MethodCall("Report", "sa{sv}", number("pool")), wire.ErrInvalidEvent, []string{`"state"`, `option "pool"`, `got a value of type "u"`, "expected a string (s)"}},
			{apitest.ReportCall("ct_netif", "pool", "p", "id", "1", "action", "dance", "name", "e"), wire.ErrInvalidEvent, []string{`"ct_netif"`, `option "action"`, `got "dance"`, "expected one of add, remove"}},
			{apitest.ReportCall("x", "Bad", ""), wire.ErrInvalidEvent, []string{`"x"`, `option "Bad"`, "expected an option name"}},
			{apitest.ReportCall("x", "a", "", "a", ""), wire.ErrInvalidEvent, []string{`option "a"`, "it twice"}},
			{apitest.MethodCall("Report", "sa{sv}", nested(9)), wire.ErrInvalidEvent, []string{`option "deep"`, "deeper nesting", "at most 8"}},
			{apitest.MethodCall("Report", "sa{sv}", nestedVariants(9)), wire.ErrInvalidEvent, []string{`option "deep"`, "deeper nesting", "at most 8"}},
			{apitest.ReportCall("x", "a", big), wire.ErrTooLarge, []string{"bytes of one event", "65536"}},
			{apitest.ReportCall("x", many...), wire.ErrTooLarge, []string{"65 options", "64"}},
			{apitest.ReportCall("x", "a", strings.Repeat(big, 20)), wire.ErrTooLarge, []string{"bytes of one call"}},
			{apitest.ReportCall("x", "a", strings.Repeat(big, 200)), wire.ErrTooLarge, []string{"bytes of one call"}},
			{batchCall(1025, func(b *bustest.Body, _ int) { good(b) }), wire.ErrTooLarge, []string{"1025 events in one batch", "1024"}},
			{batchCall(17, func(b *bustest.Body, _ int) { b.String("x").Dict("a", big[:61_700]) }), wire.ErrTooLarge, []string{"bytes of one batch", "1048576"}},
			{batchCall(3, func(b *bustest.Body, i int) {
				if good(b); i == 1 {
					b.Align(8).String("Bad").Dict()
				}
			}), wire.ErrInvalidEvent, []string{"event 2: ", `"Bad"`}},
			{batchCall(2, func(b *bustest.Body, i int) { b.String("x").Dict("a", big[:i*(64<<10)]) }), wire.ErrTooLarge, []string{"event 1: ", "bytes of one event"}},
		}
		for i, test := range tests {
			_, err := c.Call(apitest.Bounded(t), test.call)
			if bustest.ErrorName(err) != test.name {
				t.Errorf("%d: error is %.300v, want %s", i, err, test.name)
				continue
			}
			for _, part := range test.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%d: %q is not in %q", i, part, err)
				}
			}
		}
		if s := h.Status(); s.Last != 0 {
			t.Errorf("refused reports made %d events", s.Last)
		}
		if n := h.Counters()[hub.CounterRefused]; n != uint64(len(tests)) {
			t.Errorf("counted %d refused reports, want %d", n, len(tests))
		}
		// The connection still works, and the next event is number 1.
		apitest.OK(t, c, apitest.MethodCall("Report", "sa{sv}", nested(8)))
		apitest.OK(t, c, apitest.MethodCall("Report", "sa{sv}", nestedVariants(8)))
		apitest.OK(t, c, apitest.ReportCall("x", many[2:]...))
		apitest.WantRun(t, apitest.Seqs(r.Until(t, 3)), 1, 3)
	})
}

// The encoding of the largest accepted event has exactly 64 KiB.
func TestLargestEvent(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Broker, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	serve(t, bus, h)
	c := dial(t, bus)
	low, high := 60_000, 70_000 // accepted, refused
	for low+1 < high {
		middle := (low + high) / 2
		_, err := c.Report(apitest.Bounded(t), "x", apitest.Options("a", strings.Repeat("y", middle)))
		var large *wire.Error
		switch {
		case err == nil:
			low = middle
		case errors.As(err, &large) && large.Name == wire.ErrTooLarge:
			high = middle
		default:
			t.Fatal(err)
		}
	}
	if _, err := c.Report(apitest.Bounded(t), "x", apitest.Options("a", strings.Repeat("y", low))); err != nil {
		t.Fatal(err)
	}
	_, events, err := c.WaitEvents(apitest.Bounded(t), hub.CursorOldest, hub.Filter{}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(wire.EncodeEvent(events[len(events)-1])); size != wire.MaxEvent {
		t.Errorf("the largest event has %d bytes, the limit is %d", size, wire.MaxEvent)
	}
}

func TestSource(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		r := apitest.Receive(t, bus, "")
		apitest.OK(t, bus.ClientAs(t, bustest.NobodyUID), apitest.ReportCall("x"))
		apitest.OK(t, bus.ClientAs(t, 0), apitest.ReportCall("x"))
		events := r.Until(t, 2)
		for i, want := range []string{sourceOf(bustest.NobodyUID), sourceOf(0)} {
			if events[i].Source != want {
				t.Errorf("source is %q, want %q", events[i].Source, want)
			}
		}
	})
}

// A reporter that leaves at once is identified or refused, so each event has a source.
func TestReporterLeavesAtOnce(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const reports = 30
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		for range reports {
			leaver := apitest.OpenStream(t, bus, bustest.NobodyUID)
			m := apitest.ReportCall("left")
			m.Serial, m.Flags = 1, bustest.FlagNoReply
			leaver.Send(t, m)
			_ = leaver.Close()
		}
		apitest.Eventually(t, "each report is accepted or refused", func() bool {
			counters := h.Counters()
			return counters["events_left"]+counters[hub.CounterRefused] == reports
		})
		_, events, err := dial(t, bus).WaitEvents(apitest.Bounded(t), hub.CursorOldest, hub.Filter{}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Source != sourceOf(bustest.NobodyUID) {
				t.Errorf("event %d is from %q", e.Seq, e.Source)
			}
		}
	})
}

// The calls of an identified reporter are handled after it left, but its waits end.
func TestKnownReporterLeaves(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const calls = 300
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		leaver := apitest.OpenStream(t, bus, bustest.NobodyUID)
		first := apitest.ReportCall("known")
		first.Serial = 1000
		leaver.Send(t, first)
		leaver.Reply(t)
		for i := range uint32(calls) {
			m := apitest.ReportCall("left")
			if i%10 == 9 {
				m = apitest.WaitCall("", wire.MaxTimeout, "type", "never")
			}
			m.Serial, m.Flags = i+1, bustest.FlagNoReply
			leaver.Send(t, m)
		}
		_ = leaver.Close()
		apitest.Eventually(t, "all its reports are accepted", func() bool { return h.Counters()["events_left"] == calls*9/10 })
		hostileWithin(t, soon, "its waits end", func() bool { all, _, _ := s.pending(); return all == 0 })
	})
}
