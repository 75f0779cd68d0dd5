package dbusapi

import (
	"container/list"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// batchCall is a ReportBatch of events that build appends, each with its alignment.
func batchCall(n int, build func(b *bustest.Body, i int)) *bustest.Message {
	return methodCall("ReportBatch", "a(sa{sv})", new(bustest.Body).Array(8, func(b *bustest.Body) {
		for i := range n {
			b.Align(8)
			build(b, i)
		}
	}))
}

func TestReportNumbers(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		serve(t, bus, h)
		c := bus.ClientAs(t, 0)
		for want := range uint64(3) {
			m := ok(t, c, reportCall("x"))
			if got := body(m).Uint64(); m.Signature != "t" || got != want+1 {
				t.Fatalf("Report = %q %d, want %d", m.Signature, got, want+1)
			}
		}
		m := ok(t, c, batchCall(1024, func(b *bustest.Body, _ int) { b.String("x").Dict() }))
		var numbers []uint64
		for _, v := range body(m).Value("at", 1).Items() {
			numbers = append(numbers, v.Uint())
		}
		wantRun(t, numbers, 4, 4+1023)
		if m := ok(t, c, batchCall(0, nil)); m.Signature != "at" || len(body(m).Value("at", 1).Items()) != 0 {
			t.Errorf("an empty batch was answered with %q", m.Body)
		}
		silent := reportCall("x")
		silent.Flags, silent.Serial = bustest.FlagNoReply, c.NextSerial()
		wrong := reportCall("X")
		wrong.Flags, wrong.Serial = bustest.FlagNoReply, c.NextSerial()
		if err := c.Send(bounded(t), append(silent.Marshal(), wrong.Marshal()...)); err != nil {
			t.Fatal(err)
		}
		if got := body(ok(t, c, reportCall("x"))).Uint64(); got != 1029 {
			t.Errorf("after a report without reply the number is %d, want 1029", got)
		}
	})
}

// The bus would not pass such a reply on, so that it takes a look at what is sent.
func TestNoReply(t *testing.T) {
	service, err := New(Config{Hub: newHub(t, hub.Config{}), Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		typ   string
		flags byte
		want  bool
	}{{"x", bustest.FlagNoReply, false}, {"X", bustest.FlagNoReply, false}, {"x", 0, true}, {"X", 0, true}} {
		c, _ := bareConn(t, nil)
		who := &callers{known: map[string]*list.Element{}, byUse: list.New()}
		who.known[":1.1"] = who.byUse.PushFront(&caller{name: ":1.1", source: "uid:0"})
		call := reportCall(test.typ)
		h := &wire.Header{
			Type: wire.TypeCall, Flags: test.flags, Serial: 7, Sender: ":1.1", Path: Path, Interface: Interface, Member: "Report",
			Signature: call.Signature, BodySize: len(call.Body),
		}
		service.handle(&session{ctx: t.Context(), conn: c, callers: who}, &message{Header: h, body: string(call.Body)})
		c.out.mu.Lock()
		if answered := c.out.busy || c.out.waiting(); answered != test.want {
			t.Errorf("type %s, flags %d: answered %v", test.typ, test.flags, answered)
		}
		c.out.mu.Unlock()
	}
	if s := service.hub.Status(); s.Last != 2 {
		t.Errorf("%d events were taken, want 2", s.Last)
	}
}

// nested is the body of a report of arrays of one element each around an empty one.
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

// nestedVariants is the same with variants around a number.
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
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		serve(t, bus, h)
		r := receive(t, bus, "")
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
			{reportCall("Bad Type"), ErrInvalidEvent, []string{`"Bad Type"`, "expected a type that matches [a-z]"}},
			{reportCall("state", "pool", "p", "id", "1"), ErrInvalidEvent, []string{`"state"`, `option "state"`, "missing; expected a string"}},
			{methodCall("Report", "sa{sv}", number("pool")), ErrInvalidEvent, []string{`"state"`, `option "pool"`, `got a value of type "u"`, "expected a string (s)"}},
			{reportCall("ct_netif", "pool", "p", "id", "1", "action", "dance", "name", "e"), ErrInvalidEvent, []string{`"ct_netif"`, `option "action"`, `got "dance"`, "expected one of add, remove"}},
			{reportCall("x", "Bad", ""), ErrInvalidEvent, []string{`"x"`, `option "Bad"`, "expected an option name"}},
			{reportCall("x", "a", "", "a", ""), ErrInvalidEvent, []string{`option "a"`, "it twice"}},
			{methodCall("Report", "sa{sv}", nested(9)), ErrInvalidEvent, []string{`option "deep"`, "deeper nesting", "at most 8"}},
			{methodCall("Report", "sa{sv}", nestedVariants(9)), ErrInvalidEvent, []string{`option "deep"`, "deeper nesting", "at most 8"}},
			{reportCall("x", "a", big), ErrTooLarge, []string{"bytes of one event", "65536"}},
			{reportCall("x", many...), ErrTooLarge, []string{"65 options", "64"}},
			{reportCall("x", "a", strings.Repeat(big, 20)), ErrTooLarge, []string{"bytes of one call"}},
			{reportCall("x", "a", strings.Repeat(big, 200)), ErrTooLarge, []string{"bytes of one call"}},
			{batchCall(1025, func(b *bustest.Body, _ int) { good(b) }), ErrTooLarge, []string{"1025 events in one batch", "1024"}},
			{batchCall(17, func(b *bustest.Body, _ int) { b.String("x").Dict("a", big[:61_700]) }), ErrTooLarge, []string{"bytes of one batch", "1048576"}},
			{batchCall(3, func(b *bustest.Body, i int) {
				if good(b); i == 1 {
					b.Align(8).String("Bad").Dict()
				}
			}), ErrInvalidEvent, []string{"event 2 of the batch", `"Bad"`}},
			{batchCall(2, func(b *bustest.Body, i int) { b.String("x").Dict("a", big[:i*(64<<10)]) }), ErrTooLarge, []string{"event 1 of the batch", "bytes of one event"}},
		}
		for i, test := range tests {
			_, err := c.Call(bounded(t), test.call)
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
			t.Errorf("%d refused reports were counted, want %d", n, len(tests))
		}
		// The next one is the first to be announced, and the connection goes on.
		ok(t, c, methodCall("Report", "sa{sv}", nested(8)))
		ok(t, c, methodCall("Report", "sa{sv}", nestedVariants(8)))
		ok(t, c, reportCall("x", many[2:]...))
		wantRun(t, seqs(r.until(t, 3)), 1, 3)
	})
}

// The largest event that is taken has 64 KiB in its encoding, not more; and what is
// a little smaller than that is taken.
func TestLargestEvent(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Broker, bustest.PolicyOpen)
	h := newHub(t, hub.Config{})
	serve(t, bus, h)
	c := dial(t, bus)
	low, high := 60_000, 70_000 // taken, refused
	for low+1 < high {
		middle := (low + high) / 2
		_, err := c.Report(bounded(t), "x", options("a", strings.Repeat("y", middle)))
		var large *Error
		switch {
		case err == nil:
			low = middle
		case errors.As(err, &large) && large.Name == ErrTooLarge:
			high = middle
		default:
			t.Fatal(err)
		}
	}
	if _, err := c.Report(bounded(t), "x", options("a", strings.Repeat("y", low))); err != nil {
		t.Fatal(err)
	}
	_, events, err := c.WaitEvents(bounded(t), hub.CursorOldest, hub.Filter{}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	size := len(wire.EncodeEvent(events[len(events)-1]))
	if size > wire.MaxEvent || size < wire.MaxEvent-128 {
		t.Errorf("the largest event has %d bytes, the limit is %d", size, wire.MaxEvent)
	}
}

func TestSource(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, newHub(t, hub.Config{}))
		r := receive(t, bus, "")
		ok(t, bus.ClientAs(t, bustest.NobodyUID), reportCall("x"))
		ok(t, bus.ClientAs(t, 0), reportCall("x"))
		events := r.until(t, 2)
		for i, want := range []string{sourceOf(bustest.NobodyUID), sourceOf(0)} {
			if events[i].Source != want {
				t.Errorf("source is %q, want %q", events[i].Source, want)
			}
		}
	})
}

func TestSourceOfOneThatLeft(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		s := serve(t, bus, newHub(t, hub.Config{}))
		r := receive(t, bus, "")
		watcher := bus.ClientAs(t, 0)
		leaver := bus.ClientAs(t, bustest.NobodyUID)
		// Nothing is asked of the bus as long as this is held.
		out := s.current.Load().callers.conn.out
		out.mu.Lock()
		m := reportCall("x")
		m.Serial = leaver.NextSerial()
		name := leaver.Name()
		err := leaver.Send(bounded(t), m.Marshal())
		_ = leaver.Close()
		eventually(t, "the reporter left", func() bool {
			_, err := watcher.CallDriver(bounded(t), "GetNameOwner", "s", new(bustest.Body).String(name))
			return bustest.ErrorName(err) == errNameHasNoOwner
		})
		out.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if events := r.until(t, 1); events[0].Source != sourceUnknown {
			t.Errorf("source is %q, want %q", events[0].Source, sourceUnknown)
		}
	})
}

func TestUnitOfCgroup(t *testing.T) {
	for path, want := range map[string]string{
		"/":                                    "",
		"":                                     "",
		"/init.scope":                          "init.scope",
		"/system.slice/osctld.service":         "osctld.service",
		"/system.slice/osctld.service/x.scope": "osctld.service",
		"/system.slice/system-getty.slice/getty@tty1.service":                 "getty@tty1.service",
		"/user.slice/user-1000.slice/session-3.scope":                         "session-3.scope",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service": "user@1000.service",
		"/system.slice": "",
		"/lxc.payload.101/system.slice/a.service": "",
		"/osctl/pool.tank/a.service":              "",
		"/.service":                               "",
		"/system.slice/.scope":                    "",
	} {
		if got := unitOfCgroup(path); got != want {
			t.Errorf("unitOfCgroup(%q) = %q, want %q", path, got, want)
		}
	}
	if got := unitOf(1 << 30); got != "" {
		t.Errorf("a process that is not there is of unit %q", got)
	}
}

func TestCallersAreBounded(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	k, err := dialCallers(bounded(t), bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer k.conn.close()
	here := bus.ClientAs(t, 0)
	if who, err := k.get(bounded(t), here.Name()); err != nil || !who.known || who.uid != 0 {
		t.Fatalf("caller is %+v, %v", who, err)
	}
	first, err := k.get(bounded(t), ":9.1")
	if err != nil || first.known || first.source != sourceUnknown {
		t.Fatalf("caller that is not there is %+v, %v", first, err)
	}
	for i := range maxCallers - 1 {
		if _, err := k.get(bounded(t), fmt.Sprintf(":9.%d", i+2)); err != nil {
			t.Fatal(err)
		}
		if i == 10 { // it is used, so it stays
			if again, err := k.get(bounded(t), ":9.1"); err != nil || again != first {
				t.Fatal("a caller that is known was asked for again:", err)
			}
		}
	}
	if len(k.known) != maxCallers || k.byUse.Len() != maxCallers {
		t.Errorf("%d callers are remembered in %d places, want %d", k.byUse.Len(), len(k.known), maxCallers)
	}
	if k.known[here.Name()] != nil || k.known[":9.1"] == nil {
		t.Error("not the one that was seen longest ago was forgotten")
	}
}
