package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// hangingService owns the name of the service. It leaves calls of the service without an
// answer, as many as its count says, and answers the others with event 1. Who has that
// already waits for ever.
func hangingService(t *testing.T, bus *bustest.Bus, leave int) {
	t.Helper()
	service := ownName(t, bus)
	ctx := apitest.Bounded(t)
	go func() {
		for {
			m, err := service.Receive(ctx)
			if err != nil {
				return
			}
			if m.Type != bustest.TypeCall {
				continue
			}
			cursor, _ := m.FirstString()
			if leave--; leave >= 0 || cursor == hub.FormatCursor("e", 1) {
				continue
			}
			// An answer may come too late here, and then the call comes again.
			reply := waitReply(hub.FormatCursor("e", 1), &hub.Event{Type: "x", Seq: 1})
			reply.Serial, reply.ReplySerial, reply.Destination = service.NextSerial(), m.Serial, m.Sender
			if err := service.Send(ctx, reply.Marshal()); err != nil {
				return // the test is over
			}
		}
	}()
}

// TestFollowHang is about a service that owns its name and does not answer.
func TestFollowHang(t *testing.T) {
	t.Parallel()
	t.Run("from the start", func(t *testing.T) {
		t.Parallel()
		bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
		hangingService(t, bus, 1)
		f := &follow{Follower: Follower{Address: bus.Address()}, handle: func(Update) error { return nil }, patience: time.Millisecond}
		if err := f.run(apitest.Bounded(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("Follow ended with", err)
		}
	})
	t.Run("for a while", func(t *testing.T) {
		t.Parallel()
		bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
		hangingService(t, bus, 2)
		g := &following{ended: make(chan error, 1)}
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		f := &follow{Follower: Follower{Address: bus.Address()}, handle: g.take, patience: 500 * time.Millisecond, started: true}
		go func() { g.ended <- f.run(ctx) }()
		g.until(t, 1)
		g.wantSteps(t, "down up events")
		cancel()
		if err := apitest.Await(t, "Follow ends", g.ended); !errors.Is(err, context.Canceled) {
			t.Error("Follow ended with", err)
		}
	})
}
