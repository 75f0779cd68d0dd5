package dbusapi

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// wantOrder checks that the hub has the n events of apitest.Pour in the order sent.
func wantOrder(tb testing.TB, h *hub.Hub, n int) {
	tb.Helper()
	sub, err := h.Subscribe(hub.Filter{}, hub.CursorOldest)
	if err != nil {
		tb.Fatal(err)
	}
	events := make([]*hub.Event, n+1)
	got, err := sub.Poll(events)
	if err != nil || got != n {
		tb.Fatalf("the hub has %d events, %v, want %d", got, err, n)
	}
	last := 0
	for _, e := range events[:n] {
		number, err := strconv.Atoi(e.Options.Text("n"))
		if err != nil || number <= last {
			tb.Fatalf("event %d was sent as number %d, after number %d", e.Seq, number, last)
		}
		last = number
	}
}

// A dbus-daemon allows a connection 128 pending calls and refuses the others itself;
// a dbus-broker passes on all.
func TestOrderOfReplies(t *testing.T) {
	apitest.EachBus(t, func(t *testing.T, bus *bustest.Bus) {
		const calls = 10_000 // within the quota
		h := apitest.NewHub(t, hub.Config{History: calls})
		serve(t, bus, h)
		s := apitest.OpenStream(t, bus, 0)
		done := apitest.Pour(t, s, calls, 0)
		var refused int
		var lastCall uint32
		var lastSeq uint64
		for range calls {
			m := s.Reply(t)
			if m.Type == bustest.TypeError && m.Sender == bustest.DriverName {
				refused++
				continue
			}
			seq := apitest.Body(m).Uint64()
			if m.Signature != "t" || m.ReplySerial <= lastCall || seq != lastSeq+1 {
				t.Fatalf("reply to call %d with number %d after reply to %d with %d: %+v", m.ReplySerial, seq, lastCall, lastSeq, m)
			}
			lastCall, lastSeq = m.ReplySerial, seq
		}
		if err := apitest.Await(t, "all is written", done); err != nil {
			t.Fatal(err)
		}
		wantOrder(t, h, calls-refused)
	})
}

func TestOrderWithoutReplies(t *testing.T) {
	apitest.EachBus(t, func(t *testing.T, bus *bustest.Bus) {
		const calls = 10_000 // within the quota
		h := apitest.NewHub(t, hub.Config{History: calls})
		serve(t, bus, h)
		s := apitest.OpenStream(t, bus, 0)
		if err := apitest.Await(t, "all is written", apitest.Pour(t, s, calls, bustest.FlagNoReply)); err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, "all calls are handled", func() bool { s := h.Status(); return s.Last == calls })
		wantOrder(t, h, calls)
		// There was no reply: the reply to the next call is the first one.
		ping := bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "Ping")
		ping.Serial = calls + 1
		s.Send(t, ping)
		if m := s.Reply(t); m.ReplySerial != ping.Serial {
			t.Fatalf("a call without reply was answered: %+v", m)
		}
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestSenderThatNeverReads(t *testing.T) {
	apitest.EachBus(t, func(t *testing.T, bus *bustest.Bus) {
		const calls = 100_000
		h := apitest.NewHub(t, hub.Config{History: 64})
		serve(t, bus, h)
		c := dial(t, bus)
		before := heap()
		s := apitest.OpenStream(t, bus, 0)
		done := apitest.Pour(t, s, calls, 0)
		for flooding := true; flooding; {
			select {
			case <-done: // all is written, or the bus disconnected the sender
				flooding = false
			default:
			}
			if _, err := c.Report(apitest.Bounded(t), "other", nil); err != nil {
				t.Fatal("another client, meanwhile:", err)
			}
		}
		if s := h.Status(); s.Last < 1000 {
			t.Errorf("only %d reports were accepted", s.Last)
		}
		if after := heap(); after > before+64<<20 {
			t.Fatalf("the heap grew from %d to %d bytes", before, after)
		}
	})
}
