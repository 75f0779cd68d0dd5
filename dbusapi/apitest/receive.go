package apitest

import (
	"bufio"
	"bytes"
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

// Receiver collects the signals of the service.
type Receiver struct {
	mu     sync.Mutex
	events []*hub.Event
	Raw    []*bustest.Message // of events
	spans  [][2]uint64        // first and last number of each signal, Lapped or not, in order
	Lapped int
	errs   []error
}

// Receive connects a receiver of the signals of the service that match an additional
// rule, "" for all.
func Receive(tb testing.TB, bus *bustest.Bus, rule string) *Receiver {
	tb.Helper()
	s := OpenStream(tb, bus, 0)
	match := "type='signal',interface='" + wire.Interface + "'"
	if rule != "" {
		match += "," + rule
	}
	add := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName, "AddMatch")
	add.Serial, add.Signature, add.Body = 1, "s", new(bustest.Body).String(match).Bytes()
	s.Send(tb, add)
	if m := s.Reply(tb); m.Type != bustest.TypeReturn {
		tb.Fatal("AddMatch:", m)
	}
	r := &Receiver{}
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

func (r *Receiver) take(m *bustest.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := Body(m)
	switch {
	case m.Interface != wire.Interface || m.Type != bustest.TypeSignal:
		return
	case m.Member == "Event" && m.Signature == wire.EventType:
		e := d.Event()
		r.events = append(r.events, e)
		r.Raw = append(r.Raw, m)
		r.spans = append(r.spans, [2]uint64{e.Seq, e.Seq})
	case m.Member == "Lapped" && m.Signature == "tt":
		r.spans = append(r.spans, [2]uint64{d.Uint64(), d.Uint64()})
		r.Lapped++
	default:
		r.errs = append(r.errs, errors.New("unexpected signal "+m.Member+" "+m.Signature))
	}
	if err := d.Finish(); err != nil {
		r.errs = append(r.errs, err)
	}
}

// Seqs returns the numbers of the received events.
func (r *Receiver) Seqs() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Seqs(r.events)
}

// Until waits for n events, and returns all received ones.
func (r *Receiver) Until(tb testing.TB, n int) []*hub.Event {
	tb.Helper()
	Eventually(tb, "signals arrive: "+strconv.Itoa(n), func() bool {
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

// WantAll waits for the signal of event last, or for a Lapped that includes it. It
// expects the same for each event from first on, once and in order. It returns the
// number of lost events.
func (r *Receiver) WantAll(tb testing.TB, first, last uint64) (lost uint64) {
	tb.Helper()
	Eventually(tb, "the signal of event "+strconv.FormatUint(last, 10), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.spans) > 0 && r.spans[len(r.spans)-1][1] >= last
	})
	if got := r.WantInOrder(tb, first); got != last {
		tb.Fatalf("the last is %d, want %d", got, last)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return last - first + 1 - uint64(len(r.events))
}

// WantInOrder expects the signals so far to cover each number from first on, once and in order. It
// returns the last number, first-1 if there is no signal.
func (r *Receiver) WantInOrder(tb testing.TB, first uint64) (last uint64) {
	tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	next := first
	for _, span := range r.spans {
		if span[0] != next || span[1] < span[0] {
			tb.Fatalf("signal of %v, expected one from %d on", span, next)
		}
		next = span[1] + 1
	}
	if len(r.errs) > 0 {
		tb.Fatal(r.errs)
	}
	return next - 1
}

// Seqs returns the numbers of events.
func Seqs(events []*hub.Event) []uint64 {
	numbers := make([]uint64, len(events))
	for i, e := range events {
		numbers[i] = e.Seq
	}
	return numbers
}

// WantRun expects exactly the numbers first to last, in order.
func WantRun(tb testing.TB, numbers []uint64, first, last uint64) {
	tb.Helper()
	if want := int(last - first + 1); len(numbers) != want { //nolint:gosec // a test has few
		tb.Fatalf("%d numbers, want the %d from %d to %d", len(numbers), want, first, last)
	}
	for i, n := range numbers {
		if n != first+uint64(i) {
			tb.Fatalf("number %d is %d, want %d", i, n, first+uint64(i))
		}
	}
}

// Stream is a plain connection after Hello. The test decides what it sends and when
// it reads.
type Stream struct {
	*net.UnixConn
	in   *bufio.Reader
	Name string
}

// OpenStream connects as a user and calls Hello.
func OpenStream(tb testing.TB, bus *bustest.Bus, uid uint32) *Stream {
	tb.Helper()
	s := &Stream{UnixConn: bus.DialAs(tb, uid)}
	tb.Cleanup(func() { _ = s.Close() })
	s.in = bufio.NewReaderSize(s, 64<<10)
	hello := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName, "Hello")
	hello.Serial = 1 << 30
	s.Send(tb, hello)
	s.Name, _ = s.Reply(tb).FirstString()
	return s
}

// Send writes a message.
func (s *Stream) Send(tb testing.TB, m *bustest.Message) {
	tb.Helper()
	if err := s.SetWriteDeadline(time.Now().Add(Patience)); err != nil {
		tb.Fatal(err)
	}
	if _, err := s.Write(m.Marshal()); err != nil {
		tb.Fatal(err)
	}
}

// Reply reads the next message other than a signal.
func (s *Stream) Reply(tb testing.TB) *bustest.Message {
	tb.Helper()
	for {
		if m := s.Next(tb); m.Type != bustest.TypeSignal {
			return m
		}
	}
}

// Next reads a message.
func (s *Stream) Next(tb testing.TB) *bustest.Message {
	tb.Helper()
	if err := s.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		tb.Fatal(err)
	}
	m, err := bustest.ReadMessage(s.in)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// Pour writes n Report calls in large chunks, without waiting for replies. The calls
// have the serials from 1 on, and their number as an option.
func Pour(tb testing.TB, s *Stream, n int, flags byte) (done chan error) {
	tb.Helper()
	done = make(chan error, 1)
	go func() {
		defer close(done)
		var chunk bytes.Buffer
		for i := range n {
			m := ReportCall("load", "n", strconv.Itoa(i+1))
			m.Serial, m.Flags = uint32(i+1), flags
			chunk.Write(m.Marshal())
			if chunk.Len() > 64<<10 || i == n-1 {
				if err := s.SetWriteDeadline(time.Now().Add(Patience)); err != nil {
					done <- err
					return
				}
				if _, err := s.Write(chunk.Bytes()); err != nil {
					done <- err
					return
				}
				chunk.Reset()
			}
		}
	}()
	return done
}

// AsEvent appends the fields of an event as in the signal.
func AsEvent(b *bustest.Body, e *hub.Event, entries func(b *bustest.Body)) *bustest.Body {
	b.String(e.Type).String(e.Action).String(e.Pool).String(e.ID).String(e.Source)
	return b.Uint64(e.Seq).Uint64(uint64(e.Time.UnixMicro())).Array(8, entries)
}
