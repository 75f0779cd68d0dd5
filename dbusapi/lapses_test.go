package dbusapi

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// lapseLog keeps the log lines about skipped signals.
type lapseLog struct {
	mu    sync.Mutex
	lines []lapseLine
}

type lapseLine struct {
	Lost  uint64 `json:"lost"`
	First uint64 `json:"first_seq"`
	Last  uint64 `json:"last_seq"`
}

func (l *lapseLog) Write(line []byte) (int, error) {
	var parsed lapseLine
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&parsed); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if parsed.Lost > 0 {
		l.lines = append(l.lines, parsed)
	}
	return len(line), nil
}

// lost returns the logged number of skipped signals, and the last of them.
func (l *lapseLog) lost() (lost, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		lost += line.Lost
		last = line.Last
	}
	return lost, last
}

func (l *lapseLog) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// Skipped signals are logged at once, then every ten seconds, and completely.
func TestLapses(t *testing.T) {
	t.Parallel()
	var logged lapseLog
	var l lapses
	start := time.Now()
	for n := range uint64(601) { // 4 of 10 signals, every tenth of a second
		l.add(&hub.LappedError{First: 10*n + 1, Last: 10*n + 4})
		l.logIfDue(logged.logger(), start.Add(time.Duration(n)*time.Second/10))
	}
	if len(logged.lines) != 7 {
		t.Errorf("logged %d times in 60 s, want 7", len(logged.lines))
	}
	if want := (lapseLine{Lost: 400, First: 11, Last: 1004}); logged.lines[1] != want {
		t.Errorf("logged %v, want %v", logged.lines[1], want)
	}
	l.add(&hub.LappedError{First: 7001, Last: 7001})
	l.logNow(logged.logger(), start)
	l.logNow(logged.logger(), start)
	if lost, last := logged.lost(); lost != 601*4+1 || last != 7001 || len(logged.lines) != 8 {
		t.Errorf("logged %d up to %d, %d times", lost, last, len(logged.lines))
	}
}

// Each skipped signal counts once, even if it is added again because the bus was lost before Lapped was sent.
func TestLapsesOnce(t *testing.T) {
	t.Parallel()
	var logged lapseLog
	var l lapses
	for _, last := range []uint64{12, 12, 15, 15} {
		l.add(&hub.LappedError{First: 1, Last: last})
		l.add(&hub.LappedError{First: 1, Last: last})
		l.logNow(logged.logger(), time.Now())
	}
	want := []lapseLine{{Lost: 12, First: 1, Last: 12}, {Lost: 3, First: 13, Last: 15}}
	if !slices.Equal(logged.lines, want) {
		t.Errorf("logged %v, want %v", logged.lines, want)
	}
}

// A wait is bounded only if a log line is due.
func TestLapsesUntilDue(t *testing.T) {
	t.Parallel()
	l := lapses{loggedAt: time.Now()}
	ctx, cancel := l.untilDue(t.Context())
	defer cancel()
	if _, bounded := ctx.Deadline(); bounded {
		t.Error("a wait is bounded without skipped signals")
	}
	l.add(&hub.LappedError{First: 1, Last: 1})
	ctx, cancel = l.untilDue(t.Context())
	defer cancel()
	if at, bounded := ctx.Deadline(); !bounded || !at.Equal(l.loggedAt.Add(lapsesInterval)) {
		t.Errorf("a wait is bounded %v, at %v", bounded, at)
	}
}

// If the signals of a service are lapped, the next log line comes when it is due, even without further
// events, and the last one when the service ends.
func TestLapsesLogged(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{History: 8})
	var logged lapseLog
	s := launch(t, Config{Hub: h, Address: bus.Address(), Log: logged.logger()}, func(s *Service) {
		s.emitter.lapses.loggedAt = time.Now().Add(time.Second - lapsesInterval)
		commitMany(t, h, 20) // 12 are dropped, and the emitter continues at the middle of the rest
	})
	apitest.Eventually(t, "the skipped signals are logged", func() bool {
		lost, last := logged.lost()
		return lost == 16 && last == 16
	})
	r := apitest.Receive(t, bus, "")
	for n := range uint64(3) {
		commitMany(t, h, 10)
		apitest.Eventually(t, "signals arrive", func() bool {
			seqs := r.Seqs()
			return len(seqs) > 0 && seqs[len(seqs)-1] == 30+10*n
		})
	}
	if err := s.stop(t); err != nil {
		t.Fatal(err)
	}
	if lost, last := logged.lost(); lost != 16+3*6 || last != 46 {
		t.Errorf("logged %d up to %d, want %d up to 46", lost, last, 16+3*6)
	}
}
