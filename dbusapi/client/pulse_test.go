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

// pingUntilSilent accepts any answer, and returns when one is missing.
func TestPulse(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	pings := make(chan int, 1) // in this attempt
	pings <- 0
	answerCalls(t, bus, func(call *bustest.Message) *bustest.Message {
		n := <-pings + 1
		pings <- n
		switch {
		case call.Member != "Ping":
			t.Errorf("%s was called", call.Member)
		case n == 1:
			return &bustest.Message{Type: bustest.TypeReturn}
		case n == 2:
			return &bustest.Message{Type: bustest.TypeError, ErrorName: wire.ErrAccessDenied}
		}
		return nil
	})
	// On a busy machine an answer may be late, so try again with more time.
	for every := 50 * time.Millisecond; ; every *= 2 {
		client, err := Dial(apitest.Bounded(t), bus.Address())
		if err != nil {
			t.Fatal(err)
		}
		err = client.pingUntilSilent(apitest.Bounded(t), every)
		client.Close()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("pingUntilSilent:", err)
		}
		n := <-pings
		pings <- 0
		if n == 3 {
			break
		}
		if every > 10*time.Second {
			t.Fatalf("it ended after %d pings, want 3", n)
		}
	}
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

// The same for Await.
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
			pinged, hangs := make(chan struct{}), true // at the first ping
			types := map[string]string{"ListContainers": "sa" + wire.ContainerType, "ListInterfaces": "sa" + wire.InterfaceType, "WaitEvents": "sa(" + wire.EventType + ")"}
			answerCalls(t, bus, func(call *bustest.Message) *bustest.Message {
				switch call.Member {
				case "Ping":
					if !hangs {
						return &bustest.Message{Type: bustest.TypeReturn}
					}
					hangs = false
					close(pinged)
					return nil
				case "WaitEvents":
					if timeoutOf(call) > 0 {
						return nil
					}
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
			apitest.Await(t, "a ping", pinged)
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
