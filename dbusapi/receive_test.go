package dbusapi

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// receiver gathers the signals of the service.
type receiver struct {
	mu     sync.Mutex
	events []*hub.Event
	raw    []*bustest.Message // of events
	spans  [][2]uint64        // first and last number of each signal, Lapped or not, in order
	lapped int
	errs   []error
}

// receive connects a receiver of the signals that pass a match rule, which is added
// to that of the interface.
func receive(tb testing.TB, bus *bustest.Bus, rule string) *receiver {
	tb.Helper()
	s := openStream(tb, bus, 0)
	match := "type='signal',interface='" + Interface + "'"
	if rule != "" {
		match += "," + rule
	}
	add := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName, "AddMatch")
	add.Serial, add.Signature, add.Body = 1, "s", new(bustest.Body).String(match).Bytes()
	s.send(tb, add)
	if m := s.reply(tb); m.Type != bustest.TypeReturn {
		tb.Fatal("AddMatch:", m)
	}
	r := &receiver{}
	done := make(chan struct{})
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(done)
		for {
			m, err := bustest.ReadMessage(s.in)
			if err != nil {
				return
			}
			r.take(m)
		}
	}()
	tb.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return r
}

func (r *receiver) take(m *bustest.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := body(m)
	switch {
	case m.Interface != Interface || m.Type != bustest.TypeSignal:
		return
	case m.Member == "Event" && m.Signature == wire.EventType:
		e := parseEvent(d)
		r.events = append(r.events, e)
		r.raw = append(r.raw, m)
		r.spans = append(r.spans, [2]uint64{e.Seq, e.Seq})
	case m.Member == "Lapped" && m.Signature == "tt":
		r.spans = append(r.spans, [2]uint64{d.Uint64(), d.Uint64()})
		r.lapped++
	default:
		r.errs = append(r.errs, errors.New("unexpected signal "+m.Member+" "+m.Signature))
	}
	if err := d.Finish(); err != nil {
		r.errs = append(r.errs, err)
	}
}

// seqs are the numbers received so far.
func (r *receiver) seqs() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return seqs(r.events)
}

// until waits until n events came, and returns all that did.
func (r *receiver) until(tb testing.TB, n int) []*hub.Event {
	tb.Helper()
	eventually(tb, "signals arrive: "+strconv.Itoa(n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.events) >= n || len(r.errs) > 0
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) > 0 {
		tb.Fatal(r.errs)
	}
	return slices.Clone(r.events)
}

// wantAll waits until number last was announced, or said to be lost, and expects
// each from first on to be so, once and in order. It returns how many were lost.
func (r *receiver) wantAll(tb testing.TB, first, last uint64) (lost uint64) {
	tb.Helper()
	eventually(tb, "the signal of event "+strconv.FormatUint(last, 10), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.spans) > 0 && r.spans[len(r.spans)-1][1] >= last
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	next := first
	for _, span := range r.spans {
		if span[0] != next || span[1] < span[0] {
			tb.Fatalf("signal of %v, expected one from %d on", span, next)
		}
		next = span[1] + 1
	}
	if next != last+1 || len(r.errs) > 0 {
		tb.Fatalf("the last is %d, want %d; %v", next-1, last, r.errs)
	}
	return last - first + 1 - uint64(len(r.events))
}

func seqs(events []*hub.Event) []uint64 {
	numbers := make([]uint64, len(events))
	for i, e := range events {
		numbers[i] = e.Seq
	}
	return numbers
}

// wantRun expects the numbers first to last, each once and in order.
func wantRun(tb testing.TB, numbers []uint64, first, last uint64) {
	tb.Helper()
	if want := int(last - first + 1); len(numbers) != want {
		tb.Fatalf("%d numbers, want the %d from %d to %d", len(numbers), want, first, last)
	}
	for i, n := range numbers {
		if n != first+uint64(i) {
			tb.Fatalf("number %d is %d, want %d", i, n, first+uint64(i))
		}
	}
}

// stream is a bare connection that said Hello: what it sends and when it reads is up
// to the test.
type stream struct {
	*net.UnixConn
	in   *bufio.Reader
	name string
}

func openStream(tb testing.TB, bus *bustest.Bus, uid uint32) *stream {
	tb.Helper()
	s := &stream{UnixConn: bus.DialAs(tb, uid)}
	tb.Cleanup(func() { _ = s.Close() })
	s.in = bufio.NewReaderSize(s, 64<<10)
	hello := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName, "Hello")
	hello.Serial = 1 << 30
	s.send(tb, hello)
	s.name, _ = s.reply(tb).FirstString()
	return s
}

// send writes a message.
func (s *stream) send(tb testing.TB, m *bustest.Message) {
	tb.Helper()
	if err := s.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Write(m.Marshal()); err != nil {
		tb.Fatal(err)
	}
}

// reply reads the next message that is no signal.
func (s *stream) reply(tb testing.TB) *bustest.Message {
	tb.Helper()
	for {
		if m := s.next(tb); m.Type != bustest.TypeSignal {
			return m
		}
	}
}

// next reads a message.
func (s *stream) next(tb testing.TB) *bustest.Message {
	tb.Helper()
	if err := s.SetReadDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	m, err := bustest.ReadMessage(s.in)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}
