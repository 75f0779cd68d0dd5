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

// nextWait returns the next call, which must be WaitEvents from the given cursor.
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

// eventAt returns a reply with one event.
func eventAt(seq uint64) *bustest.Message {
	return waitReply(hub.FormatCursor("e", seq), &hub.Event{Type: "x", Seq: seq})
}

// blockingHandler is a handler of Follow that blocks in each update until it is released.
type blockingHandler struct {
	updates chan Update
	release chan error
}

func startBlocking(ctx context.Context, f Follower) (*blockingHandler, chan error) {
	h := &blockingHandler{updates: make(chan Update), release: make(chan error)}
	ended := make(chan error, 1)
	go func() {
		ended <- Follow(ctx, f, func(u Update) error {
			h.updates <- u
			return <-h.release
		})
	}()
	return h, ended
}

// Exactly one call is pending while the handler works.
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
			// The next call comes although the handler is blocked.
			call = nextWait(t, service, hub.FormatCursor("e", seq))
			if n := handled.Load(); n != seq-1 {
				t.Fatalf("%d events were handled at the call after event %d", n, seq)
			}
			handle <- struct{}{}
			apitest.Eventually(t, "the event is handled", func() bool { return handled.Load() == seq })
		}
		if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, errEnough) {
			t.Error("Follow ended with", err)
		}
	})
}

// If each call is answered at once, at most one reply waits for the handler.
func TestFollowAheadLimit(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	service := ownName(t, bus)
	const events = 300
	var handled atomic.Uint64
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	g := &followRecorder{ended: make(chan error, 1)}
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
			t.Fatalf("%d events were handled at the call for event %d", n, seq+1)
		}
	}
	g.until(t, events)
	g.wantSteps(t, "events")
	cancel()
	apitest.Await(t, "Follow ends", g.ended)
}

// If the service goes away while a call is pending, Follow continues after the handled events.
func TestFollowAheadFails(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	service := ownName(t, bus)
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	handler, ended := startBlocking(ctx, Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
	answer(t, service, nextWait(t, service, hub.CursorOldest), eventAt(1))
	if u := apitest.Await(t, "event 1", handler.updates); len(u.Events) != 1 || u.Cursor != "e:1" {
		t.Fatalf("update %+v", u)
	}
	nextWait(t, service, "e:1")
	if err := service.Close(); err != nil {
		t.Fatal(err)
	}
	handler.release <- nil
	if u := apitest.Await(t, "Down", handler.updates); !HasName(u.Down, wire.ErrNoReply) || u.Cursor != "e:1" {
		t.Errorf("update %+v", u)
	}
	service = ownName(t, bus)
	handler.release <- nil
	answer(t, service, nextWait(t, service, "e:1"), eventAt(2))
	if u := apitest.Await(t, "Up", handler.updates); !u.Up || u.Cursor != "e:1" {
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

// The hub drops the events after the cursor while the handler works on those before it.
func TestFollowAheadGone(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 8})
		serve(t, bus, h)
		apitest.Commit(t, h, 3, "x")
		handler, ended := startBlocking(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
		if u := apitest.Await(t, "events", handler.updates); len(u.Events) != 3 {
			t.Errorf("update %+v", u)
		}
		commitBatch(t, h, 20) // 4 to 23, of which 16 to 23 are kept
		handler.release <- nil
		u := apitest.Await(t, "Gone", handler.updates)
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

// When the handler ends Follow, the pending call does not stay at the service.
func TestFollowEndsWithCallAhead(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		waits := monitorWaits(t, bus)
		apitest.Commit(t, h, 1, "x")
		handler, ended := startBlocking(apitest.Bounded(t), Follower{Address: bus.Address(), Cursor: hub.CursorOldest})
		apitest.Await(t, "event 1", handler.updates)
		waits.until(t, 1)
		handler.release <- errEnough
		if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, errEnough) {
			t.Error("Follow ended with", err)
		}
		waits.until(t, 0)
	})
}

// With a slow handler and a restart of the service, each event comes once and in order.
func TestFollowSlowHandler(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const events = 5_000
		h := apitest.NewHub(t, hub.Config{})
		s := serve(t, bus, h)
		apitest.Commit(t, h, 1, "x")
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		defer cancel()
		first, goOn := make(chan struct{}), make(chan struct{})
		g := &followRecorder{ended: make(chan error, 1)}
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
		// A reply is handled after its service has gone.
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
