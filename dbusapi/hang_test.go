package dbusapi

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// hangingService owns the name of the service. It leaves calls of the service without an
// answer, as many as its count says, and answers the others with event 1. Who has that
// already waits for ever.
func hangingService(t *testing.T, bus *bustest.Bus, leave int) {
	t.Helper()
	service := bus.ClientAs(t, 0)
	if _, err := service.CallDriver(bounded(t), "RequestName", "su", new(bustest.Body).String(Name).Uint32(0)); err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
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
			e := &hub.Event{Type: "x", Seq: 1}
			b := new(bustest.Body).String(hub.FormatCursor("e", 1)).Array(8, func(b *bustest.Body) { asEvent(b.Align(8), e, func(*bustest.Body) {}) })
			reply := &bustest.Message{
				Type: bustest.TypeReturn, Serial: service.NextSerial(), ReplySerial: m.Serial, Destination: m.Sender,
				Signature: "sa(ssssstta{sv})", Body: b.Bytes(),
			}
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
		if err := f.run(bounded(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("Follow ended with", err)
		}
	})
	t.Run("for a while", func(t *testing.T) {
		t.Parallel()
		bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
		hangingService(t, bus, 2)
		g := &following{ended: make(chan error, 1)}
		ctx, cancel := context.WithCancel(bounded(t))
		f := &follow{Follower: Follower{Address: bus.Address()}, handle: g.take, patience: 500 * time.Millisecond, started: true}
		go func() { g.ended <- f.run(ctx) }()
		g.until(t, 1)
		g.wantSteps(t, "down up events")
		cancel()
		if err := await(t, "Follow ends", g.ended); !errors.Is(err, context.Canceled) {
			t.Error("Follow ended with", err)
		}
	})
}
