package dbusapi

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// pending returns the number of pending WaitEvents calls, and of their users and connections.
func (s *served) pending() (all, users, senders int) {
	ss := s.current.Load()
	if ss == nil {
		return 0, 0, 0
	}
	return ss.waits.count()
}

// count returns the number of pending calls, and of their users and connections.
func (ws *waits) count() (all, users, conns int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, n := range ws.users {
		all += n
	}
	return all, len(ws.users), len(ws.conns)
}

// untilPending waits until n calls are pending.
func (s *served) untilPending(tb testing.TB, n int) {
	tb.Helper()
	apitest.Eventually(tb, fmt.Sprint("pending calls: ", n), func() bool {
		all, users, senders := s.pending()
		return all == n && (n > 0 || users == 0 && senders == 0)
	})
}

// waitResult is the result of a WaitEvents call.
type waitResult struct {
	cursor string
	events []*hub.Event
	err    error
}

// startWait calls WaitEvents in a goroutine.
func startWait(tb testing.TB, c *client.Client, cursor string, f hub.Filter, timeout time.Duration) <-chan waitResult {
	tb.Helper()
	ctx := apitest.Bounded(tb)
	result := make(chan waitResult, 1)
	go func() {
		var w waitResult
		w.cursor, w.events, w.err = c.WaitEvents(ctx, cursor, f, 0, timeout)
		result <- w
	}()
	return result
}

func TestWaitFrom(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		at := func(seq uint64) string { return hub.FormatCursor(apitest.Epoch(h), seq) }
		apitest.Commit(t, h, 1200, "x", "id", "1")
		apitest.Commit(t, h, 5, "y", "id", "1")
		for _, test := range []struct {
			cursor      string
			filter      hub.Filter
			limit       uint32
			first, last uint64 // 0 for none
			next        string
		}{
			{"", hub.Filter{}, 0, 0, 0, at(1205)},
			{hub.CursorOldest, hub.Filter{}, 0, 1, 1024, at(1024)},
			{hub.CursorOldest, hub.Filter{}, 4_000_000_000, 1, 1024, at(1024)},
			{hub.CursorOldest, hub.Filter{}, 7, 1, 7, at(7)},
			{at(0), hub.Filter{}, 1, 1, 1, at(1)},
			{at(1024), hub.Filter{}, 0, 1025, 1205, at(1205)},
			{at(1205), hub.Filter{}, 0, 0, 0, at(1205)},
			{hub.CursorOldest, apitest.Only(t, "type", "y"), 0, 1201, 1205, at(1205)},
			{hub.CursorOldest, apitest.Only(t, "type", "y"), 2, 1201, 1202, at(1202)},
			{hub.CursorOldest, apitest.Only(t, "type", "z"), 0, 0, 0, at(1205)},
			{at(1203), apitest.Only(t, "type", "y", "id", "1"), 0, 1204, 1205, at(1205)},
			{at(1203), apitest.Only(t, "type", "y", "id", "2"), 0, 0, 0, at(1205)},
		} {
			next, events, err := c.WaitEvents(apitest.Bounded(t), test.cursor, test.filter, test.limit, 0)
			if err != nil || next != test.next {
				t.Fatalf("%+v: cursor %s, %v", test, next, err)
			}
			if test.first == 0 {
				test.first, test.last = 1, 0
			}
			apitest.WantRun(t, apitest.Seqs(events), test.first, test.last)
		}
	})
}

func TestWaitTimeout(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		c := dial(t, bus)
		apitest.Commit(t, h, 1, "x")
		result := startWait(t, c, hub.CursorOldest, apitest.Only(t, "type", "y"), 300*time.Millisecond)
		apitest.Commit(t, h, 100, "x")
		w := apitest.Await(t, "the timeout", result)
		if w.err != nil || len(w.events) != 0 {
			t.Fatalf("%+v", w)
		}
		epoch, seq, err := hub.ParseCursor(w.cursor)
		if err != nil || seq == 0 {
			t.Errorf("the cursor did not advance: %s %d, %v", epoch, seq, err)
		}
		s.untilPending(t, 0)
		// A long wait ends only with an event that passes the filter.
		result = startWait(t, c, w.cursor, apitest.Only(t, "type", "y", "id", "7"), time.Hour)
		s.untilPending(t, 1)
		apitest.Commit(t, h, 100, "y", "id", "8")
		if _, err := c.Report(apitest.Bounded(t), "x", apitest.Options("id", "7")); err != nil {
			t.Fatal(err)
		}
		if all, _, _ := s.pending(); all != 1 {
			t.Fatal("a foreign event ended the wait")
		}
		last := apitest.Commit(t, h, 1, "y", "id", "7")
		w = apitest.Await(t, "the event", result)
		if w.err != nil || w.cursor != hub.FormatCursor(epoch, last) {
			t.Fatalf("%+v", w)
		}
		apitest.WantRun(t, apitest.Seqs(w.events), last, last)
	})
}

func filterBody(build func(b *bustest.Body)) *bustest.Message {
	return apitest.MethodCall("WaitEvents", "sa{sv}uu", new(bustest.Body).String("").Array(8, build).Uint32(0).Uint32(0))
}

// listOf appends the filter key id with a list of values.
func listOf(values ...string) func(b *bustest.Body) {
	return func(b *bustest.Body) {
		b.Align(8).String("id").Variant("as", func(b *bustest.Body) {
			b.Array(4, func(b *bustest.Body) {
				for _, v := range values {
					b.String(v)
				}
			})
		})
	}
}

func TestWaitRefused(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 4})
		s := serve(t, bus, h)
		c := bus.ClientAs(t, bustest.NobodyUID)
		apitest.Commit(t, h, 10, "x")
		many := make([]string, hub.MaxFilterValues+1)
		wide := make([]string, hub.MaxFilterValues)
		for i := range many {
			many[i] = fmt.Sprint(i)
		}
		for i := range wide {
			wide[i] = strings.Repeat("x", 40)
		}
		big := strings.Repeat("x", 70_000)
		for _, test := range []struct {
			call *bustest.Message
			want string
			part string
		}{
			{apitest.WaitCall("nonsense", 0), wire.ErrInvalidCursor, "nonsense"},
			{apitest.WaitCall(apitest.Epoch(h)+":11", 0), wire.ErrInvalidCursor, "the newest event is 10"},
			{apitest.WaitCall(apitest.Epoch(h)+":05", 0), wire.ErrInvalidCursor, "not a cursor"},
			{apitest.WaitCall("other:7", 0), wire.ErrGone, "another epoch"},
			{apitest.WaitCall(apitest.Epoch(h)+":5", 0), wire.ErrGone, "the oldest event kept is 7"},
			{apitest.WaitCall("", 0, "colour", "red"), wire.ErrInvalidFilter, "colour"},
			{apitest.WaitCall("", 0, "type", "x", "type", "y"), wire.ErrInvalidFilter, "twice"},
			{filterBody(func(b *bustest.Body) {
				b.Align(8).String("id").Variant("u", func(b *bustest.Body) { b.Uint32(1) })
			}), wire.ErrInvalidFilter, `type "u"`},
			{filterBody(listOf()), wire.ErrInvalidFilter, "no value"},
			{filterBody(listOf(many...)), wire.ErrInvalidFilter, "256"},
			{apitest.WaitCall("", 60_000, "id", big), wire.ErrTooLarge, "bytes of one WaitEvents call"},
		} {
			_, err := c.Call(apitest.Bounded(t), test.call)
			if bustest.ErrorName(err) != test.want || !strings.Contains(err.Error(), test.part) {
				t.Errorf("%.200q: error is %v, want %s: %s", test.call.Body, err, test.want, test.part)
			}
		}
		s.untilPending(t, 0)
		apitest.OK(t, c, apitest.WaitCall(apitest.Epoch(h)+":6", 0))
		apitest.OK(t, c, filterBody(listOf(many[:hub.MaxFilterValues]...)))
		apitest.OK(t, c, filterBody(listOf(wide...)))
		if n := h.Counters()[hub.CounterRefused]; n != 0 {
			t.Error("waits were counted as reports:", n)
		}
	})
}

func TestWaitLimitOfConnection(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		stream := apitest.OpenStream(t, bus, bustest.NobodyUID)
		for i := range wire.MaxWaits + 1 {
			m := apitest.WaitCall("", 60_000)
			m.Serial = uint32(i + 1)
			stream.Send(t, m)
		}
		if m := stream.Reply(t); m.ErrorName != wire.ErrLimitsExceeded || m.ReplySerial != wire.MaxWaits+1 {
			t.Fatalf("the first reply is %+v", m)
		}
		s.untilPending(t, wire.MaxWaits)
		// Other connections may still wait.
		result := startWait(t, dial(t, bus), "", hub.Filter{}, time.Hour)
		s.untilPending(t, wire.MaxWaits+1)
		apitest.Commit(t, h, 1, "x")
		if w := apitest.Await(t, "the event", result); w.err != nil || len(w.events) != 1 {
			t.Fatalf("%+v", w)
		}
		answered := map[uint32]bool{}
		for range wire.MaxWaits {
			m := stream.Reply(t)
			if d := apitest.Body(m); m.Type != bustest.TypeReturn || d.String() == "" || len(d.Events()) != 1 || answered[m.ReplySerial] {
				t.Fatalf("reply is %+v", m)
			}
			answered[m.ReplySerial] = true
		}
		s.untilPending(t, 0)
	})
}

func TestWaitsEndWhenCallerLeaves(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		stays := startWait(t, dial(t, bus), "", hub.Filter{}, time.Hour)
		s.untilPending(t, 1)
		stream := apitest.OpenStream(t, bus, bustest.NobodyUID)
		for i := range 10 {
			m := apitest.WaitCall("", 60_000)
			m.Serial = uint32(i + 1)
			stream.Send(t, m)
		}
		s.untilPending(t, 11)
		_ = stream.Close()
		hostileWithin(t, soon, "its waits end", func() bool { all, _, _ := s.pending(); return all == 1 })
		apitest.Commit(t, h, 1, "x")
		if w := apitest.Await(t, "the event", stays); w.err != nil {
			t.Fatal(w.err)
		}
		s.untilPending(t, 0)
	})
}

// There are limits for each connection, each user, and all users other than root. Only root's own calls
// count against root.
func TestWaitLimits(t *testing.T) {
	ws := newWaits(t.Context())
	release := func(who *bus.Peer) {
		ws.release(who)
		ws.wg.Done()
	}
	peer := func(uid uint32, i int) *bus.Peer {
		return &bus.Peer{Name: fmt.Sprintf(":%d.%d", uid, i), UID: uid, Known: true}
	}
	var taken []*bus.Peer
	takeMany := func(uid uint32, connections int) {
		t.Helper()
		for i := range connections {
			who := peer(uid, i)
			for range wire.MaxWaits {
				if err := ws.acquire(who); err != nil {
					t.Fatal(err)
				}
				taken = append(taken, who)
			}
		}
	}
	refused := func(who *bus.Peer, name string) {
		t.Helper()
		apitest.WantError(t, ws.acquire(who), name)
	}
	left, leave := context.WithCancel(t.Context())
	refused(&bus.Peer{Name: ":1.1", Left: left}, wire.ErrTimeout)
	leave()
	refused(&bus.Peer{Name: ":1.1", Left: left}, wire.ErrAccessDenied)
	for uid := range uint32(maxWaitsInAll / maxWaitsPerUser) {
		takeMany(uid+1, maxWaitsPerUser/wire.MaxWaits)
		refused(peer(uid+1, 0), wire.ErrLimitsExceeded)
		refused(peer(uid+1, 999), wire.ErrLimitsExceeded)
	}
	refused(peer(1000, 1), wire.ErrLimitsExceeded)
	takeMany(0, maxWaitsInAll/wire.MaxWaits)
	refused(peer(0, 999), wire.ErrLimitsExceeded)
	release(taken[0])
	if err := ws.acquire(peer(1000, 1)); err != nil {
		t.Error("after a release:", err)
	}
	for _, who := range append(taken[1:], peer(1000, 1)) {
		release(who)
	}
	if all, users, conns := ws.count(); all != 0 || users != 0 || conns != 0 || ws.otherUsers != 0 {
		t.Errorf("after all releases: %d, %d, %d, %d", all, users, conns, ws.otherUsers)
	}
	ws.close()
	if err := ws.acquire(taken[0]); toError(err).Name != wire.ErrShuttingDown {
		t.Error("after close:", err)
	}
}

// largeEvents returns events that together exceed the limit of a reply.
func largeEvents(t *testing.T, n int) []*hub.Event {
	t.Helper()
	events := make([]*hub.Event, n)
	for i := range events {
		var err error
		if events[i], err = hub.NewEvent("large", apitest.Options("a", strings.Repeat("x", 60_000)), "test"); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

func TestLargeReplies(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 150
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		c := dial(t, bus)
		result := startWait(t, c, "", hub.Filter{}, time.Hour) // waits
		s.untilPending(t, 1)
		if _, err := h.Commit(hub.Batch{Events: largeEvents(t, events)}); err != nil {
			t.Fatal(err)
		}
		for _, result := range []<-chan waitResult{result, startWait(t, c, hub.CursorOldest, hub.Filter{}, 0)} { // the second one does not wait
			var got []uint64
			for n := 0; len(got) < events; n++ {
				w := apitest.Await(t, "the reply", result)
				if w.err != nil || len(w.events) == 0 || len(w.events)*60_000 > maxReplyBytes {
					t.Fatalf("%d events, %v", len(w.events), w.err)
				}
				if n == 0 && len(w.events) < maxReplyBytes/60_000-5 {
					t.Errorf("only %d events came in the first reply", len(w.events))
				}
				got = append(got, apitest.Seqs(w.events)...)
				if w.cursor != hub.FormatCursor(apitest.Epoch(h), got[len(got)-1]) {
					t.Fatal("the cursor is", w.cursor)
				}
				result = startWait(t, c, w.cursor, hub.Filter{}, 0)
			}
			apitest.WantRun(t, got, 1, events)
			apitest.Await(t, "the last reply", result)
		}
	})
}

func TestWaitLoopUnderLoad(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 12_000
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		done := apitest.Pour(t, apitest.OpenStream(t, bus, 0), events, bustest.FlagNoReply)
		c := dial(t, bus)
		var got []uint64
		for cursor := hub.CursorOldest; len(got) < events; {
			next, batch, err := c.WaitEvents(apitest.Bounded(t), cursor, apitest.Only(t, "type", "load"), 100, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			got, cursor = append(got, apitest.Seqs(batch)...), next
		}
		apitest.WantRun(t, got, 1, events)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
