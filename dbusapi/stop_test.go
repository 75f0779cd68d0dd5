package dbusapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// logText keeps what the log is told.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// The end comes while a flood keeps the bus busy, and more waits than there is time for.
// Whoever listens is told of each event that was taken, be it by Lapped; or if the bus does
// not even take that in time, as on a busy machine, the log says of which they are not.
func TestStopInFlood(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		enough := 0
		if strings.Contains(t.Name(), bustest.Broker.String()) {
			enough = 16 << 20 // a dbus-daemon lets no more than 128 calls through
		}
		h := newHub(t, hub.Config{})
		var said logText
		s := launch(t, Config{Hub: h, Address: bus.Address()}, func(s *Service) { s.log = said.logger() })
		await(t, "the name", s.Ready())
		r := receive(t, bus, "")
		c, flood := dial(t, bus), startFlood(t, bus, 0, "all at once")
		ctx, cancel := context.WithCancel(bounded(t))
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = c.Report(ctx, "other", nil) // refused, in the end
			}
		})
		defer wg.Wait()
		defer cancel()
		flood.on(t)
		work := s.current.Load().work
		eventually(t, "the flood", func() bool {
			work.mu.Lock()
			defer work.mu.Unlock()
			return h.Status().Last > 1000 && work.bytes > enough
		})
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		flood.off(t)
		told := h.Status().Last
		if _, unsent, some := strings.Cut(said.String(), "the last signals were not sent"); some {
			var last uint64
			_, where, _ := strings.Cut(unsent, "first_seq=")
			if _, err := fmt.Sscanf(where, "%d last_seq=%d", &told, &last); err != nil || last != h.Status().Last {
				t.Fatalf("the last event is %d, and the log says %s (%v)", h.Status().Last, unsent, err)
			}
			told--
			t.Logf("the bus did not take the signals of %d to %d", told+1, last)
		}
		r.wantAll(t, 1, told)
	})
}

// Calls that were taken and that there is no time for in the end are refused: each call is
// answered, and those whose answer is a number, and no others, were taken.
func TestStopRefuses(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const calls, late = 100, 7
		h := newHub(t, hub.Config{})
		var said logText
		s := launch(t, Config{Hub: h, Address: bus.Address()}, func(s *Service) {
			s.log = said.logger()
			report := s.methods[Interface]["Report"]
			slow := report
			slow.handle = func(c *call) error {
				time.Sleep(backlogTimeout / 10)
				return report.handle(c)
			}
			s.methods[Interface]["Report"] = slow
		})
		await(t, "the name", s.Ready())
		r := receive(t, bus, "")
		from := openStream(t, bus, 0)
		for i := range uint32(calls) {
			m := reportCall("x")
			m.Serial = i + 1
			if i%2 == 1 {
				m.Flags = bustest.FlagNoReply
			}
			from.send(t, m)
		}
		work := s.current.Load().work
		eventually(t, "all have come", func() bool {
			work.mu.Lock()
			defer work.mu.Unlock()
			b := work.senders[from.name]
			return b != nil && b.serial == calls
		})
		s.cancel()
		eventually(t, "the end begins", func() bool {
			work.mu.Lock()
			defer work.mu.Unlock()
			return work.stopped
		})
		for i := range uint32(late) {
			m := reportCall("late")
			m.Serial, m.Flags = calls+1+i, bustest.FlagNoReply
			from.send(t, m)
		}
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		taken, refused := uint64(0), 0
		for i := range uint32(calls / 2) {
			switch m := from.reply(t); {
			case m.ReplySerial != 2*i+1:
				t.Fatalf("reply %d is to call %d", i, m.ReplySerial)
			case m.Type == bustest.TypeReturn && refused == 0:
				if taken = body(m).Uint64(); taken != uint64(2*i+1) {
					t.Errorf("call %d made event %d", m.ReplySerial, taken)
				}
			case m.ErrorName == ErrShuttingDown:
				refused++
			default:
				t.Fatalf("call %d was answered with %v", m.ReplySerial, m)
			}
		}
		last := h.Status().Last
		if last != taken && last != taken+1 || refused == 0 { // the next one wanted no reply
			t.Errorf("%d events, the last that was answered is %d, and %d were refused", last, taken, refused)
		}
		r.wantAll(t, 1, last)
		left := fmt.Sprintf("calls=%d without_reply=%d\n", calls-last, calls-int(last)-refused)
		if text := said.String(); !strings.Contains(text, left) || !strings.Contains(text, fmt.Sprintf("want no reply\" calls=%d\n", late)) {
			t.Errorf("of %d calls %d were taken and %d refused; the log says %s", calls, last, refused, said.String())
		}
		if text := said.String(); !strings.Contains(text, "no time") || strings.Contains(text, "stopped without") {
			t.Error("the log says", text)
		}
	})
}

// While what was taken is handled in the end, signals go out: here each call waits for the
// signal of the one before.
func TestStopEmits(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const calls = 5
		h := newHub(t, hub.Config{})
		r := receive(t, bus, "")
		var stopped, late atomic.Bool
		s := launch(t, Config{Hub: h, Address: bus.Address()}, func(s *Service) {
			report := s.methods[Interface]["Report"]
			slow := report
			slow.handle = func(c *call) error {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				for !stopped.Load() {
					time.Sleep(time.Millisecond)
				}
				for uint64(len(r.seqs())) < h.Status().Last && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				if ctx.Err() != nil {
					late.Store(true)
				}
				return report.handle(c)
			}
			s.methods[Interface]["Report"] = slow
		})
		await(t, "the name", s.Ready())
		from := openStream(t, bus, 0)
		for i := range uint32(calls) {
			m := reportCall("x")
			m.Serial = i + 1
			from.send(t, m)
		}
		work := s.current.Load().work
		locked := func(ok func() bool) func() bool {
			return func() bool {
				work.mu.Lock()
				defer work.mu.Unlock()
				return ok()
			}
		}
		eventually(t, "all have come", locked(func() bool { b := work.senders[from.name]; return b != nil && b.waiting == calls }))
		s.cancel()
		eventually(t, "the end begins", locked(func() bool { return work.stopped }))
		stopped.Store(true)
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		r.wantAll(t, 1, h.Status().Last)
		if late.Load() {
			t.Error("a signal did not go out while calls were handled")
		}
	})
}

// Signals that there is no time for in the end are told with Lapped, and in the log.
func TestDrainLate(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		var said lapseLog
		s, err := New(Config{Hub: h, Log: said.logger()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialConn(bounded(t), bus.Address(), connConfig{maxBody: maxCallBody})
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		r := receive(t, bus, "")
		for _, by := range []time.Time{time.Now().Add(time.Hour), {}, {}, time.Now().Add(time.Hour)} {
			if err := s.drain(c, by); err != nil { // there is nothing
				t.Fatal(err)
			}
			commit(t, h, 100, "x")
			if err := s.drain(c, by); err != nil {
				t.Fatal(err)
			}
		}
		if lost := r.wantAll(t, 1, 400); lost != 200 || r.lapped != 2 {
			t.Errorf("%d were left out, in %d parts", lost, r.lapped)
		}
		s.lapses.flush(s.log, time.Now())
		if lost, last := said.lost(); lost != 200 || last != 300 {
			t.Errorf("the log was told of %d, to %d", lost, last)
		}
	})
}

// Signals that are still to be sent in the end are, while there is time, and go before
// whatever holds them back.
func TestFinish(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s, err := New(Config{Hub: h, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ss := &session{ctx: bounded(t), waits: newWaits(bounded(t)), work: newDispatcher(maxBacklog)}
		strained := func() strain { return refusing }
		if ss.conn, err = dialConn(bounded(t), bus.Address(), connConfig{maxBody: maxCallBody, strain: strained}); err != nil {
			t.Fatal(err)
		}
		defer ss.conn.close()
		r := receive(t, bus, "")
		commit(t, h, 1000, "x")
		ended := make(chan error)
		if err := s.finish(ss, func() { close(ended) }, ended); err != nil {
			t.Error(err)
		}
		if lost := r.wantAll(t, 1, 1000); lost != 0 || !ss.conn.out.hurried {
			t.Errorf("%d were left out; hurried is %v", lost, ss.conn.out.hurried)
		}
	})
}

// The log tells which signals were not sent.
func TestLogStopped(t *testing.T) {
	t.Parallel()
	h := newHub(t, hub.Config{})
	var said logText
	s, err := New(Config{Hub: h, Log: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, h, 10, "x")
	s.sub.Skip()
	if s.logStopped(errors.New("never")); said.String() != "" {
		t.Error("the log says", said.String())
	}
	close(s.ready)
	s.logStopped(errors.New("why"))
	if text := said.String(); !strings.Contains(text, "all signals were sent") || !strings.Contains(text, "error=why") {
		t.Error("the log says", text)
	}
	s.sub.Rewind(4)
	s.logStopped(errors.New("why else"))
	if text := said.String(); !strings.Contains(text, `error="why else" first_seq=5 last_seq=10`) {
		t.Error("the log says", text)
	}
}
