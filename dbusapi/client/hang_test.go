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

// hangingService owns the name of the service. It does not answer the first ignored calls. Then it answers
// with event 1, and does not answer calls for later events.
func hangingService(t *testing.T, bus *bustest.Bus, ignored int) {
	t.Helper()
	answerCalls(t, bus, func(call *bustest.Message) *bustest.Message {
		cursor, _ := call.FirstString()
		if ignored--; ignored >= 0 || cursor == hub.FormatCursor("e", 1) {
			return nil
		}
		return eventAt(1)
	})
}

// Follow reports a service that owns its name and does not answer.
func TestFollowHang(t *testing.T) {
	t.Parallel()
	t.Run("from the start", func(t *testing.T) {
		t.Parallel()
		bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
		hangingService(t, bus, 1)
		f := &follow{Follower: Follower{Address: bus.Address()}, handle: func(Update) error { return nil }, replyTimeout: time.Millisecond}
		if err := f.run(apitest.Bounded(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("Follow ended with", err)
		}
	})
	t.Run("for a while", func(t *testing.T) {
		t.Parallel()
		bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
		hangingService(t, bus, 2)
		g := &followRecorder{ended: make(chan error, 1)}
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		f := &follow{Follower: Follower{Address: bus.Address()}, handle: g.take, replyTimeout: 500 * time.Millisecond, started: true}
		go func() { g.ended <- f.run(ctx) }()
		g.until(t, 1)
		g.wantSteps(t, "down up events")
		cancel()
		if err := apitest.Await(t, "Follow ends", g.ended); !errors.Is(err, context.Canceled) {
			t.Error("Follow ended with", err)
		}
	})
}
