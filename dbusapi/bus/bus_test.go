package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

func TestConnect(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		peers := make(chan *Peer, 10)
		b := connect(t, testConfig(bus, func(call *Call) {
			peers <- call.Peer
			if call.Member == "Fail" {
				call.Fail(&wire.Error{Name: "a.b.Failed", Message: "it did"})
				return
			}
			echo(call)
		}))
		c := bus.ClientAs(t, bustest.NobodyUID)
		for i := range 3 {
			text := fmt.Sprint("call ", i)
			if got, err := apitest.OK(t, c, callOf(text)).FirstString(); got != text || err != nil {
				t.Errorf("the reply is %q, %v", got, err)
			}
			p := <-peers
			if p.Name != c.Name() || p.UID != bustest.NobodyUID || !p.Known || p.Source != "uid:65534" || p.Left.Err() != nil {
				t.Errorf("the peer is %+v", p)
			}
		}
		m := callOf("x")
		m.Member = "Fail"
		_, err := c.Call(apitest.Bounded(t), m)
		if bustest.ErrorName(err) != "a.b.Failed" || !strings.Contains(err.Error(), "it did") {
			t.Error("error is", err)
		}
		p := <-peers
		owner, err := c.CallDriver(apitest.Bounded(t), "GetNameOwner", "s", new(bustest.Body).String(name))
		if got, _ := owner.FirstString(); err != nil || got != b.UniqueName() {
			t.Errorf("the owner is %q, want %q", got, b.UniqueName())
		}
		if err := errors.Join(b.Alive(apitest.Bounded(t)), b.Confirm(apitest.Bounded(t))); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		apitest.Await(t, "the peer left", p.Left.Done())
		b.Close()
		apitest.Await(t, "the session ends", b.Done())
		if !errors.Is(b.Err(), wire.ErrClosed) {
			t.Error("Err:", b.Err())
		}
		for _, err := range []error{
			b.Confirm(t.Context()), b.Leave(t.Context()), b.Alive(t.Context()), b.Signals(t.Context(), func(*Signals) { t.Error("added") }),
		} {
			if err == nil {
				t.Error("no error after the end")
			}
		}
	})
}

func TestConnectFails(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		config := testConfig(bus, echo)
		owner := bus.ClientAs(t, 0)
		request := new(bustest.Body).String(name).Uint32(0)
		if _, err := owner.CallDriver(apitest.Bounded(t), "RequestName", "su", request); err != nil {
			t.Fatal(err)
		}
		_, err := Connect(t.Context(), config)
		if err == nil || !strings.Contains(err.Error(), owner.Name()) || !strings.Contains(err.Error(), name) {
			t.Error("the name is taken:", err)
		}
		denied := config
		denied.Name = "org.example.Denied"
		if _, err := Connect(t.Context(), denied); !wire.HasName(err, wire.ErrAccessDenied) {
			t.Error("the name is denied:", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Connect(ctx, config); !errors.Is(err, context.Canceled) {
			t.Error("with a context that is done:", err)
		}
		bus.Stop()
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := Connect(ctx, config); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("the bus hangs:", err)
		}
		bus.Cont()
		bus.Kill()
		if _, err := Connect(t.Context(), config); err == nil {
			t.Error("no error without a bus")
		}
	})
}

func TestNameLost(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		b := connect(t, testConfig(bus, echo))
		go func() {
			_, _ = b.call(context.Background(), "ReleaseName", "s", func(e *wire.Encoder) { e.String(name) })
		}()
		apitest.Await(t, "the session ends", b.Done())
		if err := b.Err(); err == nil || !strings.Contains(err.Error(), "taken away") {
			t.Error("Err:", err)
		}
	})
}

func TestBusDies(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		entered, gate := make(chan struct{}, 1), make(chan struct{})
		b := connect(t, testConfig(bus, func(call *Call) {
			entered <- struct{}{}
			<-gate
			echo(call)
		}))
		c := bus.ClientAs(t, 0)
		for range 3 {
			if err := c.Send(apitest.Bounded(t), numbered(callOf("x"), c.NextSerial())); err != nil {
				t.Fatal(err)
			}
		}
		apitest.Await(t, "a call is being handled", entered)
		bus.Kill()
		apitest.Await(t, "the session ends", b.Done())
		if b.Err() == nil {
			t.Error("Err is nil")
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			b.Close()
		}()
		apitest.Eventually(t, "the queued calls are dropped", func() bool { calls, _, _ := b.Waiting(); return calls == 0 })
		close(gate)
		apitest.Await(t, "Close returns", closed)
		if len(entered) != 0 {
			t.Error("a dropped call was handled")
		}
	})
}

// The end of one connection ends both.
func TestControlEndEndsSession(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		b := connect(t, testConfig(bus, echo))
		reason := errors.New("the other connection ended")
		b.control.wire.Interrupt(reason)
		apitest.Await(t, "the session ends", b.Done())
		if !errors.Is(b.Err(), reason) {
			t.Error("Err:", b.Err())
		}
		b.Close()
		b = connect(t, testConfig(bus, echo))
		b.GiveUp(reason)
		apitest.Await(t, "the other connection ends", b.control.wire.Done())
	})
}

func numbered(m *bustest.Message, serial uint32) []byte {
	m.Serial = serial
	return m.Marshal()
}

// A hung bus is given up, even while senders wait for room. Alive fails, and Close does not wait.
func TestBusHangs(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		config := testConfig(bus, echo)
		config.WriteTimeout = 200 * time.Millisecond
		b := connect(t, config)
		bus.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := b.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("Alive:", err)
		}
		var adding sync.WaitGroup
		for range 3 {
			adding.Go(func() {
				var err error
				for i := uint64(1); err == nil; i++ {
					err = b.Signals(context.Background(), func(s *Signals) { addNumber(s, i) })
				}
			})
		}
		apitest.Await(t, "the session ends", b.Done())
		if err := b.Err(); err == nil || !strings.Contains(err.Error(), "took nothing") {
			t.Error("Err:", err)
		}
		adding.Wait()
		b.Close()
		bus.Cont()
	})
}

func call(t *testing.T, c *bustest.Client) error {
	t.Helper()
	_, err := c.Call(apitest.Bounded(t), callOf("x"))
	return err
}
