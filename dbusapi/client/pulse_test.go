package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// answerCalls owns the name of the service, and answers each call with the message of reply, or not at all
// if that is nil.
func answerCalls(t *testing.T, bus *bustest.Bus, reply func(call *bustest.Message) *bustest.Message) {
	t.Helper()
	service := ownName(t, bus)
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			call, err := service.Receive(ctx)
			if err != nil {
				return
			}
			if call.Type != bustest.TypeCall {
				continue
			}
			if m := reply(call); m != nil {
				m.Serial, m.ReplySerial, m.Destination = service.NextSerial(), call.Serial, call.Sender
				if err := service.Send(ctx, m.Marshal()); err != nil {
					return // the test is over
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// With Pulse, Follow reports a service that hangs during a wait.
func TestFollowPulse(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	answerCalls(t, bus, func(call *bustest.Message) *bustest.Message {
		if call.Member != "WaitEvents" || timeoutOf(call) > 0 {
			return nil
		}
		return waitReply(hub.FormatCursor("e", 1))
	})
	g := &followRecorder{ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	f := &follow{Follower: Follower{Address: bus.Address(), Pulse: 10 * time.Millisecond}, replyTimeout: time.Hour}
	f.handle = func(u Update) error {
		if u.Down != nil && !errors.Is(u.Down, context.DeadlineExceeded) {
			t.Error("Down is", u.Down)
		}
		return g.take(u)
	}
	go func() { g.ended <- f.run(ctx) }()
	apitest.Eventually(t, "the updates down, up, down", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return strings.HasPrefix(strings.Join(g.steps, " "), "events down up down")
	})
	cancel()
	if err := apitest.Await(t, "Follow ends", g.ended); !errors.Is(err, context.Canceled) {
		t.Error("Follow ended with", err)
	}
}

// With Pulse, a wait ends after Pulse, so that the service shows that it answers. The handler does not get
// each cursor that moves meanwhile.
func TestFollowPulseAnswered(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	const pulse, waits = 20 * time.Second, 3
	waited := make(chan struct{})
	seq := uint64(0)
	answerCalls(t, bus, func(call *bustest.Message) *bustest.Message {
		if cursor, _ := call.FirstString(); seq > 0 && cursor != hub.FormatCursor("e", seq) {
			t.Errorf("call for the events after %s, want %d", cursor, seq)
		}
		if timeout := timeoutOf(call); seq > 0 && timeout != uint32(pulse.Milliseconds()) {
			t.Errorf("call with a timeout of %d ms", timeout)
		}
		if seq++; seq > waits {
			if seq == waits+1 {
				close(waited)
			}
			return nil
		}
		return waitReply(hub.FormatCursor("e", seq))
	})
	updates, ended := make(chan Update, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	go func() {
		ended <- Follow(ctx, Follower{Address: bus.Address(), Pulse: pulse}, func(u Update) error {
			updates <- u
			return nil
		})
	}()
	apitest.Await(t, "the waits are answered", waited)
	cancel()
	if err := apitest.Await(t, "Follow ends", ended); !errors.Is(err, context.Canceled) {
		t.Error("Follow ended with", err)
	}
	if u := <-updates; u.Cursor != hub.FormatCursor("e", 1) || len(updates) > 0 {
		t.Errorf("the first update is %+v, %d follow", u, len(updates))
	}
}

// With Pulse, Await reports a service that hangs during a wait.
func TestAwaitPulse(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(context.Context, Await) error{
		"state": func(ctx context.Context, a Await) error {
			_, err := a.State(ctx, "running")
			return err
		},
		"link": func(ctx context.Context, a Await) error { return a.Link(ctx, "eth0", true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
			types := map[string]string{"ListContainers": "sa" + wire.ContainerType, "ListInterfaces": "sa" + wire.InterfaceType, "WaitEvents": "sa(" + wire.EventType + ")"}
			answerCalls(t, bus, func(call *bustest.Message) *bustest.Message {
				if call.Member == "WaitEvents" && timeoutOf(call) > 0 {
					return nil
				}
				b := new(bustest.Body).String(hub.FormatCursor("e", 1)).Array(8, func(*bustest.Body) {})
				return &bustest.Message{Type: bustest.TypeReturn, Signature: types[call.Member], Body: b.Bytes()}
			})
			ctx, cancel := context.WithCancel(apitest.Bounded(t))
			notices, ended := make(chan Update, 100), make(chan error, 1)
			go func() {
				ended <- wait(ctx, Await{Address: bus.Address(), Pool: "tank", ID: "1", Pulse: 50 * time.Millisecond, Notice: func(u Update) {
					select {
					case notices <- u:
					default: // the test does not read these
					}
				}})
			}()
			if u := apitest.Await(t, "a notice", notices); !errors.Is(u.Down, context.DeadlineExceeded) {
				t.Errorf("the first notice is %+v, want Down", u)
			}
			if u := apitest.Await(t, "another notice", notices); !u.Up || u.Down != nil {
				t.Errorf("the second notice is %+v, want Up", u)
			}
			cancel()
			if err := apitest.Await(t, "the end", ended); !errors.Is(err, context.Canceled) {
				t.Error("the wait ended with", err)
			}
		})
	}
}
