package bus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

func addNumber(s *Signals, seq uint64) {
	h := &wire.Header{Path: "/a", Interface: "a.b", Member: "Number", Signature: "ts"}
	s.Add(h, seq, func(e *wire.Encoder) {
		e.Uint64(seq)
		e.String(strings.Repeat("x", 200))
	})
}

// subscriber reads signals and keeps their numbers.
type subscriber struct {
	mu   sync.Mutex
	seqs []uint64
	done chan struct{}
}

func subscribe(t *testing.T, bus *bustest.Bus) *subscriber {
	t.Helper()
	s := apitest.OpenStream(t, bus, 0)
	add := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName, "AddMatch")
	add.Serial, add.Signature, add.Body = 1, "s", new(bustest.Body).String("type='signal',interface='a.b'").Bytes()
	s.Send(t, add)
	if m := s.Reply(t); m.Type != bustest.TypeReturn {
		t.Fatal("AddMatch:", m)
	}
	_ = s.SetReadDeadline(time.Time{})
	r := &subscriber{done: make(chan struct{})}
	in := bufio.NewReader(s) // the stream's own reader has nothing left: nothing was sent beyond the reply
	go func() {
		defer close(r.done)
		for {
			m, err := bustest.ReadMessage(in)
			if err != nil {
				return
			}
			if m.Type != bustest.TypeSignal || m.Member != "Number" {
				continue
			}
			r.mu.Lock()
			r.seqs = append(r.seqs, apitest.Body(m).Uint64())
			r.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-r.done
	})
	return r
}

func (r *subscriber) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seqs)
}

// When Leave returns, the bus has taken all queued signals, in order, even during a flood of calls.
func TestLeaveInFlood(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		r := subscribe(t, bus)
		b := connect(t, testConfig(bus, echo))
		for n := range 4 {
			flood := bus.ClientAs(t, bustest.NobodyUID)
			to := []string{name, b.UniqueName()}[n%2] // the unique name stays valid during Leave
			stop, flooding := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				for stop.Err() == nil {
					var chunk bytes.Buffer
					for range 20 {
						m := callOf("flood")
						m.Destination, m.Flags = to, bustest.FlagNoReply*byte(n/2)
						chunk.Write(numbered(m, flood.NextSerial()))
					}
					if flood.Send(stop, chunk.Bytes()) != nil {
						return
					}
					if _, err := flood.CallDriver(stop, "GetId", "", nil); err != nil {
						return
					}
				}
			})
			t.Cleanup(func() {
				flooding()
				wg.Wait()
			})
		}
		const signals = 2000
		for i := range uint64(signals) {
			if err := b.Signals(t.Context(), func(s *Signals) { addNumber(s, i+1) }); err != nil {
				t.Fatal(err)
			}
		}
		b.StopCalls(time.Second)
		if err := b.Leave(apitest.Bounded(t)); err != nil {
			t.Fatal("Leave:", err)
		}
		select {
		case <-b.Done():
		default:
			t.Error("Leave returned before the session ended")
		}
		if !errors.Is(b.Err(), wire.ErrBusClosed) {
			t.Error("Err:", b.Err())
		}
		if got := b.Written(); got != signals {
			t.Errorf("the last written is %d", got)
		}
		b.Close()
		apitest.Eventually(t, "all signals are received", func() bool { return r.count() >= signals })
		r.mu.Lock()
		defer r.mu.Unlock()
		apitest.WantRun(t, r.seqs, 1, signals)
	})
}

// Leave returns an error if the session does not end with the end of the stream.
func TestLeaveFails(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	here, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	k, _ := bareControl(t)
	b := startBus(Config{Log: slog.New(slog.DiscardHandler), Count: ignore, WriteTimeout: apitest.Patience}, wire.NewConn(here), k)
	defer b.Close()
	left := make(chan error, 1)
	go func() { left <- b.Leave(apitest.Bounded(t)) }()
	m, err := bustest.ReadMessage(there)
	if err != nil || m.Member != "ReleaseName" {
		t.Fatalf("read was %+v, %v", m, err)
	}
	reply := &bustest.Message{Type: bustest.TypeReturn, Serial: 1, ReplySerial: m.Serial, Sender: wire.BusName}
	if _, err := there.Write(reply.Marshal()); err != nil {
		t.Fatal(err)
	}
	if _, err := bustest.ReadMessage(there); !errors.Is(err, io.EOF) {
		t.Fatal("after the release of the name:", err)
	}
	if _, err := there.Write(bytes.Repeat([]byte("x"), 16)); err != nil {
		t.Fatal(err)
	}
	if err := apitest.Await(t, "Leave ends", left); err == nil || !errors.Is(err, b.Err()) {
		t.Errorf("Leave: %v, want %v", err, b.Err())
	}
}

// Confirm returns after the bus has taken the queued signals.
func TestConfirm(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		r := subscribe(t, bus)
		b := connect(t, testConfig(bus, echo))
		for i := range uint64(1000) {
			if err := b.Signals(t.Context(), func(s *Signals) { addNumber(s, i+1) }); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Confirm(apitest.Bounded(t)); err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, "all signals are written", func() bool { return b.Written() == 1000 })
		bus.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := b.Confirm(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("a bus that hangs:", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := b.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("leaving a bus that hangs:", err)
		}
		bus.Cont()
		apitest.Eventually(t, "all signals are received", func() bool { return r.count() == 1000 })
	})
}

// StopCalls refuses and logs calls that are still queued at the limit, even if a handler hangs.
func TestStopCallsLimit(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		log := &records{}
		entered, gate := make(chan struct{}, 1), make(chan struct{})
		config := testConfig(bus, func(call *Call) {
			entered <- struct{}{}
			<-gate
			echo(call)
		})
		config.Log = slog.New(log)
		b := connect(t, config)
		c := bus.ClientAs(t, 0)
		ctx := apitest.Bounded(t)
		errs := make(chan error, 3)
		for i := range 3 {
			serial := c.NextSerial()
			m := callOf("x")
			m.Serial = serial
			go func() {
				_, err := c.Call(ctx, m)
				errs <- err
			}()
			if i == 0 {
				apitest.Await(t, "a call is being handled", entered)
			}
		}
		silent := callOf("x")
		silent.Flags = bustest.FlagNoReply
		for range 2 {
			if err := c.Send(ctx, numbered(silent, c.NextSerial())); err != nil {
				t.Fatal(err)
			}
		}
		apitest.Eventually(t, "all calls are queued", func() bool {
			b.queue.mu.Lock()
			defer b.queue.mu.Unlock()
			conn := b.queue.conns[c.Name()]
			return conn != nil && conn.count == 4
		})
		if b.StopCalls(time.Millisecond); b.Stuck() == 0 {
			t.Error("StopCalls waited for a hung handler")
		}
		for range 2 {
			err := apitest.Await(t, "a call is refused", errs)
			if bustest.ErrorName(err) != wire.ErrFailed || !strings.Contains(err.Error(), hub.ErrClosed.Error()) {
				t.Error("error is", err)
			}
		}
		if lines := log.take(); len(lines) != 1 || !strings.HasSuffix(lines[0], "calls=4 without_reply=2") {
			t.Errorf("logged %q", lines)
		}
		// Later calls are refused, too.
		err := call(t, c)
		if bustest.ErrorName(err) != wire.ErrFailed || !strings.Contains(err.Error(), hub.ErrClosed.Error()) {
			t.Error("a late call:", err)
		}
		if err := c.Send(ctx, numbered(silent, c.NextSerial())); err != nil {
			t.Fatal(err)
		}
		_ = call(t, c)
		close(gate)
		if err := apitest.Await(t, "the call that was being handled", errs); err != nil {
			t.Error(err)
		}
		if err := b.Leave(ctx); err != nil {
			t.Error("Leave:", err)
		}
		if lines := log.take(); len(lines) != 1 || !strings.HasSuffix(lines[0], "calls=1") {
			t.Errorf("logged %q", lines)
		}
	})
}
