package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// nextCall returns the next method call that a service gets.
func nextCall(t *testing.T, service *bustest.Client) *bustest.Message {
	t.Helper()
	for {
		m, err := service.Receive(apitest.Bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == bustest.TypeCall {
			return m
		}
	}
}

// nextWait returns the next call, which is to be WaitEvents from that cursor.
func nextWait(t *testing.T, service *bustest.Client, cursor string) *bustest.Message {
	t.Helper()
	m := nextCall(t, service)
	if from, _ := m.FirstString(); m.Member != "WaitEvents" || from != cursor {
		t.Fatalf("%s from %q was called, want WaitEvents from %q", m.Member, from, cursor)
	}
	return m
}

// answer replies to a call.
func answer(t *testing.T, service *bustest.Client, call, reply *bustest.Message) {
	t.Helper()
	reply.Serial, reply.ReplySerial, reply.Destination = service.NextSerial(), call.Serial, call.Sender
	if err := service.Send(apitest.Bounded(t), reply.Marshal()); err != nil {
		t.Fatal(err)
	}
}

// eventAt is the reply that brings one event.
func eventAt(seq uint64) *bustest.Message {
	return waitReply(hub.FormatCursor("e", seq), &hub.Event{Type: "x", Seq: seq})
}

// held is a handler of Follow that stands still in each update until it is released.
type held struct {
	updates chan Update
	release chan error
}

func startHeld(ctx context.Context, f Follower) (*held, chan error) {
	h := &held{updates: make(chan Update), release: make(chan error)}
	ended := make(chan error, 1)
	go func() {
		ended <- Follow(ctx, f, func(u Update) error {
			h.updates <- u
			return <-h.release
		})
	}()
	return h, ended
}

// TestFollowCallsAhead checks that the next call is under way while events are handled, and
// only that one.
func TestFollowCallsAhead(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 300
		service := ownName(t, bus)
		var handled atomic.Uint64
		ended, next := make(chan error, 1), uint64(1)
		handle := make(chan struct{})
		go func() {
			f := Follower{Address: bus.Address(), Cursor: hub.CursorOldest}
			ended <- Follow(apitest.Bounded(t), f, func(u Update) error {
				if len(u.Events) != 1 || u.Events[0].Seq != next || u.Cursor != hub.FormatCursor("e", next) {
					return fmt.Errorf("update %+v, want event %d", u, next)
				}
				<-handle
				next++
				if handled.Add(1) == events {
					return errEnough
				}
				return nil
			})
		}()
		call := nextWait(t, service, hub.CursorOldest)
		for seq := uint64(1); seq <= events; seq++ {
			answer(t, service, call, eventAt(seq))
			// It comes though nothing lets the handler go on with this event.
			call = nextWait(t, service, hub.FormatCursor("e", seq))
			if n := handled.Load(); n != seq-1 {
				t.Fatalf("after the reply with event %d a call came, and %d were handled", seq, n)
			}
			handle <- struct{}{}
			apitest.Eventually(t, "the event is handled", func() bool { return handled.Load() == seq })
		}
		if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, errEnough) {
			t.Error("Follow ended with", err)
		}
	})
}

// TestFollowAheadOnce answers each call at once, while the handler still has the events of an
// earlier reply: they wait for it, and no more than one reply does.
func TestFollowAheadOnce(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	service := ownName(t, bus)
	const events = 300
	var handled atomic.Uint64
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	g := &following{ended: make(chan error, 1)}
	go func() {
		g.ended <- Follow(ctx, Follower{Address: bus.Address(), Cursor: hub.CursorOldest}, func(u Update) error {
			defer handled.Add(1)
			return g.take(u)
		})
	}()
	call := nextWait(t, service, hub.CursorOldest)
	for seq := uint64(1); seq <= events; seq++ {
		answer(t, service, call, eventAt(seq))
		call = nextWait(t, service, hub.FormatCursor("e", seq))
		if n := handled.Load(); n+1 < seq {
			t.Fatalf("event %d was asked for when %d were handled", seq+1, n)
		}
	}
	g.until(t, events)
	g.wantSteps(t, "events")
	cancel()
	apitest.Await(t, "Follow ends", g.ended)
}

// TestFollowAheadFails lets the service go while a call is ahead of the handler: the cursor is
// that of the events that were handled, and Follow goes on from there.
func TestFollowAheadFails(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	service := ownName(t, bus)
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	handler, ended := startHeld(ctx, Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
	answer(t, service, nextWait(t, service, hub.CursorOldest), eventAt(1))
	if u := apitest.Await(t, "event 1", handler.updates); len(u.Events) != 1 || u.Cursor != "e:1" {
		t.Fatalf("update %+v", u)
	}
	nextWait(t, service, "e:1")
	if err := service.Close(); err != nil {
		t.Fatal(err)
	}
	handler.release <- nil
	if u := apitest.Await(t, "the word that it is down", handler.updates); !HasName(u.Down, wire.ErrNoReply) || u.Cursor != "e:1" {
		t.Errorf("update %+v", u)
	}
	service = ownName(t, bus)
	handler.release <- nil
	answer(t, service, nextWait(t, service, "e:1"), eventAt(2))
	if u := apitest.Await(t, "the word that it is up", handler.updates); !u.Up || u.Cursor != "e:1" {
		t.Errorf("update %+v", u)
	}
	handler.release <- nil
	if u := apitest.Await(t, "event 2", handler.updates); len(u.Events) != 1 || u.Cursor != "e:2" {
		t.Errorf("update %+v", u)
	}
	cancel()
	handler.release <- nil
	if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, context.Canceled) {
		t.Error("Follow ended with", err)
	}
}

// TestFollowAheadGone drops the events after a call's cursor while the handler has those
// before it.
func TestFollowAheadGone(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 8})
		serve(t, bus, h)
		apitest.Commit(t, h, 3, "x")
		handler, ended := startHeld(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
		if u := apitest.Await(t, "events", handler.updates); len(u.Events) != 3 {
			t.Errorf("update %+v", u)
		}
		commitBatch(t, h, 20) // 4 to 23, of which 16 to 23 are kept
		handler.release <- nil
		u := apitest.Await(t, "the word that events are gone", handler.updates)
		if !HasName(u.Gone, ErrGone) || u.Lost != 12 || u.Cursor != hub.FormatCursor(apitest.Epoch(h), 15) || len(u.Events) != 0 {
			t.Errorf("update %+v", u)
		}
		handler.release <- nil
		u = apitest.Await(t, "events", handler.updates)
		apitest.WantRun(t, apitest.Seqs(u.Events), 16, 23)
		handler.release <- errEnough
		if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, errEnough) {
			t.Error("Follow ended with", err)
		}
	})
}

// TestFollowEndsWithCallAhead ends Follow by its handler while a call waits in the service:
// nothing of it is left there.
func TestFollowEndsWithCallAhead(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		waits := monitorWaits(t, bus)
		apitest.Commit(t, h, 1, "x")
		handler, ended := startHeld(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
		apitest.Await(t, "event 1", handler.updates)
		waits.until(t, 1)
		handler.release <- errEnough
		if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, errEnough) {
			t.Error("Follow ended with", err)
		}
		waits.until(t, 0)
	})
}

// TestFollowSlowHandler has a handler that goes on only when all events are there, and again
// when the service was restarted: each event comes once and in order.
func TestFollowSlowHandler(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 5_000
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		apitest.Commit(t, h, 1, "x")
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		defer cancel()
		first, goOn := make(chan struct{}), make(chan struct{})
		g := &following{ended: make(chan error, 1)}
		go func() {
			f := Follower{Address: bus.Address(), Cursor: hub.CursorOldest}
			g.ended <- Follow(ctx, f, func(u Update) error {
				if u.Cursor == hub.FormatCursor(apitest.Epoch(h), 1) && len(u.Events) > 0 {
					close(first)
					<-goOn
				}
				return g.take(u)
			})
		}()
		apitest.Await(t, "event 1", first)
		apitest.Commit(t, h, events-1, "x")
		goOn <- struct{}{}
		g.until(t, events)
		g.wantSteps(t, "events")
		// The reply that is ahead belongs to a service that has gone when it is handled.
		if err := s.stop(t); err != nil {
			t.Fatal(err)
		}
		apitest.Commit(t, h, events, "x")
		serve(t, bus, h)
		g.until(t, 2*events)
		g.wantSteps(t, "events down up events")
		cancel()
		apitest.Await(t, "Follow ends", g.ended)
	})
}
