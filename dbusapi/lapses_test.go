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

// lapseLog keeps what the log is told of signals that were left out.
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

// lost is how many signals the log says were left out, and the last of them.
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

// TestLapses leaves out signals for a minute, and some later: the log is told at once,
// then each ten seconds, and of all.
func TestLapses(t *testing.T) {
	t.Parallel()
	var said lapseLog
	var l lapses
	start := time.Now()
	for n := range uint64(601) { // each tenth of a second 4 of 10
		l.add(&hub.LappedError{First: 10*n + 1, Last: 10*n + 4})
		l.tell(said.logger(), start.Add(time.Duration(n)*time.Second/10))
	}
	if len(said.lines) != 7 {
		t.Errorf("the log was told %d times in 60 s, want 7", len(said.lines))
	}
	if want := (lapseLine{Lost: 400, First: 11, Last: 1004}); said.lines[1] != want {
		t.Errorf("the log was told of %v, want %v", said.lines[1], want)
	}
	l.add(&hub.LappedError{First: 7001, Last: 7001})
	l.flush(said.logger(), start)
	l.flush(said.logger(), start)
	if lost, last := said.lost(); lost != 601*4+1 || last != 7001 || len(said.lines) != 8 {
		t.Errorf("the log was told of %d to %d, %d times", lost, last, len(said.lines))
	}
}

// TestLapsesOnce tells of signals again, and of more with them, as happens when the bus is
// lost before it was told that they were left out: each counts once.
func TestLapsesOnce(t *testing.T) {
	t.Parallel()
	var said lapseLog
	var l lapses
	for _, last := range []uint64{12, 12, 15, 15} {
		l.add(&hub.LappedError{First: 1, Last: last})
		l.add(&hub.LappedError{First: 1, Last: last})
		l.flush(said.logger(), time.Now())
	}
	want := []lapseLine{{Lost: 12, First: 1, Last: 12}, {Lost: 3, First: 13, Last: 15}}
	if !slices.Equal(said.lines, want) {
		t.Errorf("the log was told of %v, want %v", said.lines, want)
	}
}

// TestLapsesBound wants a wait to end when the log is to be told, and only then.
func TestLapsesBound(t *testing.T) {
	t.Parallel()
	l := lapses{told: time.Now()}
	ctx, cancel := l.bound(t.Context())
	defer cancel()
	if _, bounded := ctx.Deadline(); bounded {
		t.Error("a wait is bounded with nothing to tell")
	}
	l.add(&hub.LappedError{First: 1, Last: 1})
	ctx, cancel = l.bound(t.Context())
	defer cancel()
	if at, bounded := ctx.Deadline(); !bounded || !at.Equal(l.told.Add(lapsesInterval)) {
		t.Errorf("a wait is bounded: %v, at %v", bounded, at)
	}
}

// TestLapsesTold laps the signals of a service: what the log was not told at once it is
// told when it is time, though no event follows, and the rest when the service ends.
func TestLapsesTold(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{History: 8})
	var said lapseLog
	s := launch(t, Config{Hub: h, Address: bus.Address(), Log: said.logger()}, func(s *Service) {
		s.emitter.lapses.told = time.Now().Add(time.Second - lapsesInterval)
		commitMany(t, h, 20) // 12 are gone when it begins, and it goes on at the middle of the rest
	})
	apitest.Eventually(t, "the log is told", func() bool {
		lost, last := said.lost()
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
	if lost, last := said.lost(); lost != 16+3*6 || last != 46 {
		t.Errorf("the log was told of %d, to %d, want %d, to 46", lost, last, 16+3*6)
	}
}
