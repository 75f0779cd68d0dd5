package dbusapi

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// pending is how many WaitEvents calls a service has pending.
func (s *served) pending() (all, users, senders int) {
	ss := s.current.Load()
	if ss == nil {
		return 0, 0, 0
	}
	ss.waits.mu.Lock()
	defer ss.waits.mu.Unlock()
	return ss.waits.all, len(ss.waits.users), len(ss.waits.senders)
}

// untilPending waits until so many calls are pending.
func (s *served) untilPending(tb testing.TB, n int) {
	tb.Helper()
	eventually(tb, fmt.Sprint("pending calls: ", n), func() bool {
		all, users, senders := s.pending()
		return all == n && (n > 0 || users == 0 && senders == 0)
	})
}

// waited is what a WaitEvents call returned.
type waited struct {
	cursor string
	events []*hub.Event
	err    error
}

// pull makes the call in a goroutine.
func pull(tb testing.TB, c *Client, cursor string, f hub.Filter, timeout time.Duration) <-chan waited {
	tb.Helper()
	ctx := bounded(tb)
	result := make(chan waited, 1)
	go func() {
		var w waited
		w.cursor, w.events, w.err = c.WaitEvents(ctx, cursor, f, 0, timeout)
		result <- w
	}()
	return result
}

func TestWaitFrom(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		at := func(seq uint64) string { return hub.FormatCursor(epoch(h), seq) }
		commit(t, h, 1200, "x", "id", "1")
		commit(t, h, 5, "y", "id", "1")
		for _, test := range []struct {
			cursor      string
			filter      hub.Filter
			limit       uint32
			first, last uint64 // 0: none
			next        string
		}{
			{"", hub.Filter{}, 0, 0, 0, at(1205)},
			{hub.CursorOldest, hub.Filter{}, 0, 1, 1024, at(1024)},
			{hub.CursorOldest, hub.Filter{}, 4_000_000_000, 1, 1024, at(1024)},
			{hub.CursorOldest, hub.Filter{}, 7, 1, 7, at(7)},
			{at(0), hub.Filter{}, 1, 1, 1, at(1)},
			{at(1024), hub.Filter{}, 0, 1025, 1205, at(1205)},
			{at(1205), hub.Filter{}, 0, 0, 0, at(1205)},
			{hub.CursorOldest, only(t, "type", "y"), 0, 1201, 1205, at(1205)},
			{hub.CursorOldest, only(t, "type", "y"), 2, 1201, 1202, at(1202)},
			{hub.CursorOldest, only(t, "type", "z"), 0, 0, 0, at(1205)},
			{at(1203), only(t, "type", "y", "id", "1"), 0, 1204, 1205, at(1205)},
			{at(1203), only(t, "type", "y", "id", "2"), 0, 0, 0, at(1205)},
		} {
			next, events, err := c.WaitEvents(bounded(t), test.cursor, test.filter, test.limit, 0)
			if err != nil || next != test.next {
				t.Fatalf("%+v: cursor %s, %v", test, next, err)
			}
			if test.first == 0 {
				test.first, test.last = 1, 0
			}
			wantRun(t, seqs(events), test.first, test.last)
		}
	})
}

func TestWaitTimeout(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		c := dial(t, bus)
		commit(t, h, 1, "x")
		result := pull(t, c, hub.CursorOldest, only(t, "type", "y"), 300*time.Millisecond)
		commit(t, h, 100, "x")
		w := await(t, "the timeout", result)
		if w.err != nil || len(w.events) != 0 {
			t.Fatalf("%+v", w)
		}
		epoch, seq, err := hub.ParseCursor(w.cursor)
		if err != nil || seq == 0 {
			t.Errorf("the cursor did not advance: %s %d, %v", epoch, seq, err)
		}
		s.untilPending(t, 0)
		// Long ones end with an event that passes, and only with that.
		result = pull(t, c, w.cursor, only(t, "type", "y", "id", "7"), time.Hour)
		s.untilPending(t, 1)
		commit(t, h, 100, "y", "id", "8")
		if _, err := c.Report(bounded(t), "x", options("id", "7")); err != nil {
			t.Fatal(err)
		}
		if all, _, _ := s.pending(); all != 1 {
			t.Fatal("a foreign event ended the wait")
		}
		last := commit(t, h, 1, "y", "id", "7")
		w = await(t, "the event", result)
		if w.err != nil || w.cursor != hub.FormatCursor(epoch, last) {
			t.Fatalf("%+v", w)
		}
		wantRun(t, seqs(w.events), last, last)
	})
}

func filterBody(build func(b *bustest.Body)) *bustest.Message {
	return methodCall("WaitEvents", "sa{sv}uu", new(bustest.Body).String("").Array(8, build).Uint32(0).Uint32(0))
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
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{History: 4})
		s := serve(t, bus, h)
		c := bus.ClientAs(t, bustest.NobodyUID)
		commit(t, h, 10, "x")
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
			{waitCall("nonsense", 0), ErrInvalidCursor, "nonsense"},
			{waitCall(epoch(h)+":11", 0), ErrInvalidCursor, "the newest event is 10"},
			{waitCall(epoch(h)+":05", 0), ErrInvalidCursor, "not a cursor"},
			{waitCall("other:7", 0), ErrGone, "another epoch"},
			{waitCall(epoch(h)+":5", 0), ErrGone, "the oldest event kept is 7"},
			{waitCall("", 0, "colour", "red"), ErrInvalidFilter, "colour"},
			{waitCall("", 0, "type", "x", "type", "y"), ErrInvalidFilter, "twice"},
			{filterBody(func(b *bustest.Body) {
				b.Align(8).String("id").Variant("u", func(b *bustest.Body) { b.Uint32(1) })
			}), ErrInvalidFilter, `type "u"`},
			{filterBody(listOf()), ErrInvalidFilter, "no value"},
			{filterBody(listOf(many...)), ErrInvalidFilter, "256"},
			{waitCall("", 60_000, "id", big), ErrTooLarge, "bytes of one WaitEvents call"},
		} {
			_, err := c.Call(bounded(t), test.call)
			if bustest.ErrorName(err) != test.want || !strings.Contains(err.Error(), test.part) {
				t.Errorf("%.200q: error is %v, want %s: %s", test.call.Body, err, test.want, test.part)
			}
		}
		s.untilPending(t, 0)
		ok(t, c, waitCall(epoch(h)+":6", 0))
		ok(t, c, filterBody(listOf(many[:hub.MaxFilterValues]...)))
		ok(t, c, filterBody(listOf(wide...)))
		if n := h.Counters()[hub.CounterRefused]; n != 0 {
			t.Error("waits were counted as reports:", n)
		}
	})
}

func TestWaitsOfOneConnection(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		stream := openStream(t, bus, bustest.NobodyUID)
		for i := range MaxWaits + 1 {
			m := waitCall("", 60_000)
			m.Serial = uint32(i + 1)
			stream.send(t, m)
		}
		if m := stream.reply(t); m.ErrorName != ErrLimitsExceeded || m.ReplySerial != MaxWaits+1 {
			t.Fatalf("the first reply is %+v", m)
		}
		s.untilPending(t, MaxWaits)
		// Others may still wait.
		result := pull(t, dial(t, bus), "", hub.Filter{}, time.Hour)
		s.untilPending(t, MaxWaits+1)
		commit(t, h, 1, "x")
		if w := await(t, "the event", result); w.err != nil || len(w.events) != 1 {
			t.Fatalf("%+v", w)
		}
		answered := map[uint32]bool{}
		for range MaxWaits {
			m := stream.reply(t)
			if d := body(m); m.Type != bustest.TypeReturn || d.String() == "" || len(d.Events()) != 1 || answered[m.ReplySerial] {
				t.Fatalf("reply is %+v", m)
			}
			answered[m.ReplySerial] = true
		}
		s.untilPending(t, 0)
	})
}

func TestWaitsOfOneThatLeaves(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		stays := pull(t, dial(t, bus), "", hub.Filter{}, time.Hour)
		s.untilPending(t, 1)
		stream := openStream(t, bus, bustest.NobodyUID)
		for i := range 10 {
			m := waitCall("", 60_000)
			m.Serial = uint32(i + 1)
			stream.send(t, m)
		}
		s.untilPending(t, 11)
		_ = stream.Close()
		hostileWithin(t, soon, "its waits end", func() bool { all, _, _ := s.pending(); return all == 1 })
		commit(t, h, 1, "x")
		if w := await(t, "the event", stays); w.err != nil {
			t.Fatal(w.err)
		}
		s.untilPending(t, 0)
	})
}

func TestWaitsInAll(t *testing.T) {
	ws := newWaits(t.Context())
	release := func(who *caller) {
		ws.release(who)
		ws.wg.Done()
	}
	takeMany := func(uid uint32, known bool, connections int) (taken []*caller) {
		for i := range connections {
			who := &caller{name: fmt.Sprintf(":%d.%d", uid, i), uid: uid, known: known}
			for range MaxWaits {
				if _, err := ws.take(who); err != nil {
					t.Fatal(err)
				}
				taken = append(taken, who)
			}
		}
		return taken
	}
	refused := func(uid uint32) {
		t.Helper()
		_, err := ws.take(&caller{name: ":refused", uid: uid, known: true})
		wantError(t, err, ErrLimitsExceeded)
	}
	nobody := takeMany(bustest.NobodyUID, true, MaxWaitsPerUser/MaxWaits)
	refused(bustest.NobodyUID)
	release(nobody[0])
	nobody[0] = &caller{name: ":other", uid: bustest.NobodyUID, known: true}
	if _, err := ws.take(nobody[0]); err != nil {
		t.Fatal(err)
	}
	root := takeMany(0, true, (MaxWaitsInAll-MaxWaitsPerUser)/MaxWaits)
	refused(0)
	refused(1)
	for _, who := range append(nobody, root...) {
		release(who)
	}
	if ws.all != 0 || len(ws.users) != 0 || len(ws.senders) != 0 {
		t.Errorf("after all: %d, %v, %v", ws.all, ws.users, ws.senders)
	}
	ws.close()
	if _, err := ws.take(root[0]); toError(err).Name != ErrShuttingDown {
		t.Error("after close:", err)
	}
}

// close waits also for a wait that was taken and did not begin yet.
func TestWaitsClose(t *testing.T) {
	ws := newWaits(t.Context())
	who := &caller{name: ":1.1"}
	ctx, err := ws.take(who)
	if err != nil {
		t.Fatal(err)
	}
	answered, inTime := make(chan struct{}), make(chan bool, 1)
	go func() {
		ws.close()
		select {
		case <-answered:
			inTime <- true
		default:
			inTime <- false
		}
	}()
	await(t, "the wait is cancelled", ctx.Done())
	close(answered)
	ws.release(who)
	ws.wg.Done()
	if !await(t, "close", inTime) {
		t.Error("close did not wait")
	}
	if context.Cause(ctx) == nil {
		t.Error("the wait was not cancelled")
	}
}

// largeEvents makes events whose encodings are together over what one reply may have.
func largeEvents(t *testing.T, n int) []*hub.Event {
	t.Helper()
	events := make([]*hub.Event, n)
	for i := range events {
		var err error
		if events[i], err = hub.NewEvent("large", options("a", strings.Repeat("x", 60_000)), "test"); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

func TestLargeReplies(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 150
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		c := dial(t, bus)
		result := pull(t, c, "", hub.Filter{}, time.Hour) // this one waits,
		s.untilPending(t, 1)
		if _, err := h.Commit(hub.Batch{Events: largeEvents(t, events)}); err != nil {
			t.Fatal(err)
		}
		for _, result := range []<-chan waited{result, pull(t, c, hub.CursorOldest, hub.Filter{}, 0)} { // this one does not
			var got []uint64
			for n := 0; len(got) < events; n++ {
				w := await(t, "the reply", result)
				if w.err != nil || len(w.events) == 0 || len(w.events)*60_000 > maxReplyBytes {
					t.Fatalf("%d events, %v", len(w.events), w.err)
				}
				if n == 0 && len(w.events) < maxReplyBytes/60_000-5 {
					t.Errorf("only %d events came in the first reply", len(w.events))
				}
				got = append(got, seqs(w.events)...)
				if w.cursor != hub.FormatCursor(epoch(h), got[len(got)-1]) {
					t.Fatal("the cursor is", w.cursor)
				}
				result = pull(t, c, w.cursor, hub.Filter{}, 0)
			}
			wantRun(t, got, 1, events)
			await(t, "the last reply", result)
		}
	})
}

func TestWaitLoopUnderLoad(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 12_000
		h := newHub(t, hub.Config{})
		serve(t, bus, h)
		done := pour(t, openStream(t, bus, 0), events, bustest.FlagNoReply)
		c := dial(t, bus)
		var got []uint64
		for cursor := hub.CursorOldest; len(got) < events; {
			next, batch, err := c.WaitEvents(bounded(t), cursor, only(t, "type", "load"), 100, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			got, cursor = append(got, seqs(batch)...), next
		}
		wantRun(t, got, 1, events)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
