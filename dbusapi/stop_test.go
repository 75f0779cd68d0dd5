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

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// logText keeps the logged text.
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

// The service stops during a flood, with more queued calls than it has time for. A receiver gets the signal
// of each event, or Lapped. If the bus does not take these in time, as on a busy machine, the log has the
// numbers of the events.
func TestStopInFlood(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		enough := 0
		if strings.Contains(t.Name(), bustest.Broker.String()) {
			enough = 8 << 20 // a dbus-daemon passes on at most 128 calls
		}
		h := apitest.NewHub(t, hub.Config{})
		var logged logText
		// Slow enough that calls queue up.
		s := launch(t, Config{Hub: h, Address: bus.Address(), Log: logged.logger()}, slowReports(func() { time.Sleep(100 * time.Microsecond) }))
		apitest.Await(t, "the name", s.Ready())
		r := apitest.Receive(t, bus, "")
		c, flood := dial(t, bus), startFlood(t, bus, 0, "all at once")
		ctx, cancel := context.WithCancel(apitest.Bounded(t))
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = c.Report(ctx, "other", nil) // refused during the stop
			}
		})
		defer wg.Wait()
		defer cancel()
		flood.on(t)
		session := s.current.Load()
		apitest.Eventually(t, "the flood", func() bool {
			_, bytes, _ := session.bus.Waiting()
			return h.Status().Last > 1000 && bytes > enough
		})
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		flood.off(t)
		if _, unsent, some := strings.Cut(logged.String(), "the last signals may not have been sent"); some {
			var first, last uint64
			_, where, _ := strings.Cut(unsent, "first_seq=")
			if _, err := fmt.Sscanf(where, "%d last_seq=%d", &first, &last); err != nil || last != h.Status().Last {
				t.Fatalf("the last event is %d, logged %s (%v)", h.Status().Last, unsent, err)
			}
			t.Logf("the bus did not confirm the signals of %d to %d", first, last)
			apitest.Eventually(t, "the confirmed signals arrive", func() bool { return r.WantInOrder(t, 1) >= first-1 })
			return // some of the others may have arrived, too
		}
		r.WantAll(t, 1, h.Status().Last)
	})
}

// slowReports makes a service call before ahead of each Report.
func slowReports(before func()) func(*Service) {
	return func(s *Service) {
		report := s.methods[wire.Interface]["Report"]
		slow := report
		slow.handle = func(c *call) error {
			before()
			return report.handle(c)
		}
		s.methods[wire.Interface]["Report"] = slow
	}
}

// untilStopping waits until the service refuses the calls of a client because it stops. The client is connected before
// the stop begins, because that has only a second for queued calls.
func untilStopping(t *testing.T, c *client.Client) {
	t.Helper()
	apitest.Eventually(t, "the service stops", func() bool {
		_, err := c.Properties(apitest.Bounded(t))
		return wire.HasName(err, wire.ErrShuttingDown)
	})
}

// Queued calls that a stopping service has no time for are refused. Each call is answered, and exactly those
// with a number as answer made an event.
func TestStopRefuses(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const calls, late = 100, 7
		h := apitest.NewHub(t, hub.Config{})
		var logged logText
		var begun atomic.Int32
		s := launch(t, Config{Hub: h, Address: bus.Address(), Log: logged.logger()}, slowReports(func() {
			begun.Add(1)
			time.Sleep(backlogTimeout / 10)
		}))
		apitest.Await(t, "the name", s.Ready())
		r := apitest.Receive(t, bus, "")
		from := apitest.OpenStream(t, bus, 0)
		for i := range uint32(calls) {
			m := apitest.ReportCall("x")
			m.Serial = i + 1
			if i%2 == 1 {
				m.Flags = bustest.FlagNoReply
			}
			from.Send(t, m)
		}
		session := s.current.Load()
		apitest.Eventually(t, "all calls are queued", func() bool {
			handled := begun.Load() // read first, or a call that begins now would count twice
			waiting, _, _ := session.bus.Waiting()
			return waiting+int(handled) >= calls
		})
		c := dial(t, bus)
		s.cancel()
		untilStopping(t, c)
		for i := range uint32(late) {
			m := apitest.ReportCall("late")
			m.Serial, m.Flags = calls+1+i, bustest.FlagNoReply
			from.Send(t, m)
		}
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		taken, refused := uint64(0), 0
		for i := range uint32(calls / 2) {
			switch m := from.Reply(t); {
			case m.ReplySerial != 2*i+1:
				t.Fatalf("reply %d is to call %d", i, m.ReplySerial)
			case m.Type == bustest.TypeReturn && refused == 0:
				if taken = apitest.Body(m).Uint64(); taken != uint64(2*i+1) {
					t.Errorf("call %d made event %d", m.ReplySerial, taken)
				}
			case m.ErrorName == wire.ErrShuttingDown:
				refused++
			default:
				t.Fatalf("call %d was answered with %v", m.ReplySerial, m)
			}
		}
		last := h.Status().Last
		if last != taken && last != taken+1 || refused == 0 { // the next call wants no reply
			t.Errorf("%d events, the last answered one is %d, %d calls were refused", last, taken, refused)
		}
		r.WantAll(t, 1, last)
		text := logged.String()
		left := fmt.Sprintf("calls=%d without_reply=%d\n", calls-last, calls-int(last)-refused)
		if !strings.Contains(text, left) || !strings.Contains(text, fmt.Sprintf("want no reply\" calls=%d\n", late)) {
			t.Errorf("of %d calls %d made events and %d were refused; logged %s", calls, last, refused, text)
		}
		if !strings.Contains(text, "no time") || strings.Contains(text, "msg=\"stopped") {
			t.Error("logged", text)
		}
	})
}

// A stopping service sends signals while it handles queued calls. Each call waits for the signal of the one
// before.
func TestStopEmits(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const calls = 5
		h := apitest.NewHub(t, hub.Config{})
		r := apitest.Receive(t, bus, "")
		stopping, late := make(chan struct{}), atomic.Bool{}
		s := launch(t, Config{Hub: h, Address: bus.Address()}, slowReports(func() {
			<-stopping
			end := time.After(apitest.Patience)
			for uint64(len(r.Seqs())) < h.Status().Last {
				select {
				case <-end:
					late.Store(true)
					return
				case <-time.After(time.Millisecond):
				}
			}
		}))
		apitest.Await(t, "the name", s.Ready())
		from := apitest.OpenStream(t, bus, 0)
		for i := range uint32(calls) {
			m := apitest.ReportCall("x")
			m.Serial = i + 1
			from.Send(t, m)
		}
		session := s.current.Load()
		apitest.Eventually(t, "all calls are queued", func() bool { waiting, _, _ := session.bus.Waiting(); return waiting >= calls-1 })
		c := dial(t, bus)
		s.cancel()
		untilStopping(t, c)
		close(stopping)
		if err := s.stop(t); err != nil {
			t.Error("Run:", err)
		}
		r.WantAll(t, 1, h.Status().Last)
		if late.Load() {
			t.Error("a signal was not sent while calls were handled")
		}
	})
}

// Signals that drain has no time for are replaced by Lapped and logged.
func TestDrainTimeout(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, on *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		var logged lapseLog
		s, err := New(Config{Hub: h, Log: logged.logger()})
		if err != nil {
			t.Fatal(err)
		}
		b, err := bus.Connect(apitest.Bounded(t), bus.Config{
			Address: on.Address(), Name: wire.Name, Log: quiet(), Handler: &handler{service: s}, Count: h.Count,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		r := apitest.Receive(t, on, "")
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, ctx := range []context.Context{apitest.Bounded(t), over, over, apitest.Bounded(t)} {
			if err := s.emitter.drain(ctx, apitest.Bounded(t), b); err != nil { // there is nothing
				t.Fatal(err)
			}
			last := apitest.Commit(t, h, 100, "x")
			if err := s.emitter.drain(ctx, apitest.Bounded(t), b); err != nil {
				t.Fatal(err)
			}
			if sure := s.emitter.confirmed(); sure != last {
				t.Errorf("the bus confirmed signals up to %d, want %d", sure, last)
			}
		}
		if lost := r.WantAll(t, 1, 400); lost != 200 || r.Lapped != 2 {
			t.Errorf("%d signals were skipped, in %d parts, want 200 in 2", lost, r.Lapped)
		}
		s.emitter.lapses.logNow(s.Log, time.Now())
		if lost, last := logged.lost(); lost != 200 || last != 300 {
			t.Errorf("logged %d skipped signals, up to %d, want 200 up to 300", lost, last)
		}
	})
}

// logStopped logs the numbers of unconfirmed signals.
func TestLogStopped(t *testing.T) {
	t.Parallel()
	h := apitest.NewHub(t, hub.Config{})
	var logged logText
	s, err := New(Config{Hub: h, Log: logged.logger()})
	if err != nil {
		t.Fatal(err)
	}
	apitest.Commit(t, h, 10, "x")
	s.emitter.confirmedSeq.Store(10)
	s.logStopped(errors.New("why"))
	if text := logged.String(); !strings.Contains(text, "all signals were sent or replaced by Lapped") || !strings.Contains(text, "error=why") {
		t.Error("logged", text)
	}
	s.logStopped(nil)
	if text := logged.String(); strings.Count(text, "\n") != 1 {
		t.Error("an orderly stop logged", text)
	}
	s.emitter.confirmedSeq.Store(7)
	s.logStopped(nil)
	if text := logged.String(); !strings.Contains(text, `error="reports were committed too late" first_seq=8 last_seq=10`) {
		t.Error("logged", text)
	}
	s.emitter.confirmedSeq.Store(4)
	s.logStopped(errors.New("why else"))
	if text := logged.String(); !strings.Contains(text, `error="why else" first_seq=5 last_seq=10`) {
		t.Error("logged", text)
	}
}
