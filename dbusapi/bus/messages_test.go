package bus

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// A call is refused before its body is read if it is too large or over quota.
func TestCallsOverLimits(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		counts := &counters{}
		gate := make(chan struct{})
		var open sync.Once
		config := testConfig(bus, func(call *Call) {
			<-gate
			echo(call)
		})
		config.Count, config.MaxBody = counts.add, 30<<20
		b := connect(t, config)
		defer open.Do(func() { close(gate) })
		c := bus.ClientAs(t, 0)
		_, err := c.Call(apitest.Bounded(t), callOf(strings.Repeat("x", config.MaxBody)))
		if bustest.ErrorName(err) != wire.ErrFailed || !strings.Contains(err.Error(), "bytes of one call") {
			t.Error("a large call:", err)
		}
		// A connection may hold a quarter of 64 MiB, but its first call may be larger.
		for _, size := range []int{20 << 20, 1000} {
			m := callOf(strings.Repeat("x", size))
			m.Flags = bustest.FlagNoReply
			if err := c.Send(apitest.Bounded(t), numbered(m, c.NextSerial())); err != nil {
				t.Fatal(err)
			}
		}
		apitest.Eventually(t, "the second call is refused", func() bool { return counts.get(CounterOverLimit) == 1 })
		other := bus.ClientAs(t, bustest.NobodyUID)
		if err := other.Send(apitest.Bounded(t), numbered(callOf("x"), other.NextSerial())); err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, "the call of another user is queued", func() bool {
			b.queue.mu.Lock()
			defer b.queue.mu.Unlock()
			return len(b.queue.conns) == 2
		})
		open.Do(func() { close(gate) })
		apitest.Eventually(t, "all calls are handled", func() bool {
			b.queue.mu.Lock()
			defer b.queue.mu.Unlock()
			return b.queue.bytes == 0
		})
		if err := call(t, c); err != nil {
			t.Error("a call afterwards:", err)
		}
	})
}

// Messages of peers that are no calls are ignored and counted.
func TestForeignMessagesAreIgnored(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		counts := &counters{}
		config := testConfig(bus, echo)
		config.Count = counts.add
		b := connect(t, config)
		c := bus.ClientAs(t, bustest.NobodyUID, bustest.WithUnixFDs())
		for i, m := range foreignSignals(b.UniqueName()) {
			if err := c.Send(apitest.Bounded(t), numbered(m, c.NextSerial())); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := call(t, c); err != nil {
			t.Error("a call:", err)
		}
		if got := counts.get("messages_ignored"); got != 3 {
			t.Errorf("%d messages were ignored, want 3", got)
		}
	})
}

// foreignSignals returns signals that any peer may send to a connection.
func foreignSignals(to string) []*bustest.Message {
	files := &bustest.Message{Type: bustest.TypeSignal, Path: "/", Interface: "a.b", Member: "C", Destination: to}
	files.Signature, files.Body = "ah", new(bustest.Body).Array(4, func(b *bustest.Body) { b.Uint32(0).Uint32(1) }).Bytes()
	deep := *files
	var body bustest.Body
	for range 60 {
		body.Signature("v")
	}
	deep.Signature, deep.Body = "v", body.Variant("s", func(b *bustest.Body) { b.String("x") }).Bytes()
	left := *files
	left.Path, left.Interface, left.Member = wire.BusPath, wire.BusInterface, "NameLost"
	left.Signature, left.Body = "s", new(bustest.Body).String(name).Bytes()
	return []*bustest.Message{files, &deep, &left}
}

// The arguments of a call are wiped when Handle returns.
func TestArgumentsAreWiped(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const secret = "hunter2hunter2"
		var mu sync.Mutex
		var calls []*wire.Message
		b := connect(t, testConfig(bus, func(call *Call) {
			mu.Lock()
			calls = append(calls, call.Message)
			mu.Unlock()
			echo(call)
		}))
		c := bus.ClientAs(t, 0)
		for range 3 {
			apitest.OK(t, c, callOf(secret))
		}
		b.Close()
		if len(calls) != 3 || slices.ContainsFunc(calls, func(m *wire.Message) bool { return bytes.Contains(m.Frame(), []byte(secret)) }) {
			t.Error("arguments are left in messages")
		}
	})
}

// A held call delays only its own connection. Left is done when its peer leaves.
func TestHoldOnBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		held := make(chan func(), 1)
		left := make(chan struct{}, 2)
		connect(t, testConfig(bus, func(call *Call) {
			text := strings.Clone(call.Decoder().String())
			if text != "hold" {
				echo(call)
				return
			}
			resume := call.Hold()
			context.AfterFunc(call.Peer.Left, func() { left <- struct{}{} })
			held <- func() { resume(func() { call.Reply("s", func(e *wire.Encoder) { e.String("held") }) }) }
		}))
		c, other := bus.ClientAs(t, bustest.NobodyUID), bus.ClientAs(t, bustest.NobodyUID)
		replies := make(chan string, 2)
		ctx := apitest.Bounded(t)
		for _, text := range []string{"hold", "next"} {
			m := callOf(text)
			m.Serial = c.NextSerial()
			go func() {
				reply, err := c.Call(ctx, m)
				if err != nil {
					replies <- err.Error()
					return
				}
				got, _ := reply.FirstString()
				replies <- got
			}()
			if text == "hold" {
				resume := apitest.Await(t, "a call is held", held)
				held <- resume
			}
		}
		apitest.OK(t, other, callOf("other"))
		if len(replies) != 0 {
			t.Error("a reply overtook the held call")
		}
		apitest.Await(t, "a call is held", held)()
		if a, b := apitest.Await(t, "a reply", replies), apitest.Await(t, "a reply", replies); a == b || a+b != "heldnext" && a+b != "nextheld" {
			t.Errorf("replies are %q, %q", a, b)
		}
		if err := c.Send(ctx, numbered(callOf("hold"), c.NextSerial())); err != nil {
			t.Fatal(err)
		}
		apitest.Await(t, "a call is held", held)
		_ = c.Close()
		apitest.Await(t, "its peer left", left) // Close does not wait for the held call
	})
}
