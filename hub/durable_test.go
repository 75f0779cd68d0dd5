package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// afterRetries fires after at least n attempts to write a new log.
func afterRetries(n int) <-chan time.Time { return time.After(time.Duration(n) * maxRetryAfter) }

func TestLogSeesBatchesFirstAndInOrder(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	var saw []string
	log.beforeWrite = func(r Record) {
		saw = append(saw, fmt.Sprintf("%d+%d last %d, %d containers, %d links", r.First, r.Count, h.last(), len(h.views.containers), len(h.views.interfaces)))
	}
	state := newEvent(t, "state", opt("pool", "p"), opt("id", "1"), opt("state", "running"))
	link := []InterfaceChange{{Interface: Interface{Ifindex: 7, State: LinkUp}}}
	if _, err := h.Commit(Batch{Events: []*Event{state, newEvent(t, "x")}, Interfaces: link}); err != nil {
		t.Fatal(err)
	}
	fill(t, h, 1)
	if _, err := h.Commit(Batch{}); err != nil {
		t.Fatal(err)
	}
	if !h.Status().Durable {
		t.Error("not durable with a log that works")
	}
	h.Close()
	if _, err := h.Commit(Batch{Events: []*Event{newEvent(t, "late")}}); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	want := []string{"1+2 last 0, 0 containers, 0 links", "3+1 last 2, 1 containers, 1 links"}
	if !slices.Equal(saw, want) {
		t.Errorf("the log got %q, want %q", saw, want)
	}
	if !log.current.closed || !log.current.clean {
		t.Errorf("closed %v, clean %v", log.current.closed, log.current.clean)
	}
}

// reopen returns a new hub with the log of a killed one.
func reopen(tb testing.TB, log *memoryLog) *Hub {
	tb.Helper()
	return newHub(tb, Config{Log: log})
}

func TestRestartRestoresState(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	state := newEvent(t, "state", opt("pool", "p"), opt("id", "1"), opt("state", "running"), Option{"init_pid", Uint32(7)},
		Option{"more", Dict("s", "v", []Value{String("a"), Variant(Struct([]Value{Bool(true), Int64(-5), Number(KindDouble, 1<<62), Bytes([]byte{0, 255})}))})})
	row := Interface{Ifindex: 3, Veth: "veth1", Name: "eth0", Pool: "p", ID: "1", State: LinkNoCarrier, Announced: true, BoundBy: "osctld.service", BoundPeer: 2, Kept: true, Since: time.UnixMicro(1700000000000001)}
	if _, err := h.Commit(Batch{Events: []*Event{state}, Interfaces: []InterfaceChange{{Interface: row}}, Place: "here"}); err != nil {
		t.Fatal(err)
	}
	fill(t, h, 2)
	cursor := FormatCursor(h.Status().Epoch, 1)

	again := reopen(t, log)
	if got, want := again.Status(), h.Status(); got != want {
		t.Errorf("status is %+v, want %+v", got, want)
	}
	rows, _ := again.Interfaces()
	if !slices.Equal(rows, []Interface{row}) || again.Place() != "here" {
		t.Errorf("interfaces are %+v in %q", rows, again.Place())
	}
	containers, _ := again.Containers()
	if len(containers) != 1 || containers[0] != (Container{Pool: "p", ID: "1", State: "running", Source: "uid:0", Time: state.Time}) {
		t.Errorf("containers are %+v", containers)
	}
	buf := make([]*Event, 4)
	n, err := subscribe(t, again, Filter{}, CursorOldest).Poll(buf)
	if err != nil || n != 3 {
		t.Fatalf("Poll = %d, %v", n, err)
	}
	wantSame(t, buf[0], state)
	wantPoll(t, subscribe(t, again, Filter{}, cursor), 4, 2, 3)
	if seq := commit(t, again, newEvent(t, "next")); seq != 4 {
		t.Errorf("the next event has number %d", seq)
	}
}

func wantSame(t *testing.T, got, want *Event) {
	t.Helper()
	same := got.Type == want.Type && got.Action == want.Action && got.Pool == want.Pool && got.ID == want.ID &&
		got.Source == want.Source && got.Seq == want.Seq && got.Time.Equal(want.Time) && got.keys == want.keys && got.size == want.size
	if !same || !slices.EqualFunc(got.Options, want.Options, func(a, b Option) bool { return a.Name == b.Name && sameValue(a.Value, b.Value) }) {
		t.Errorf("restored %+v, want %+v", got, want)
	}
}

// waitForCommitter waits until the committer has finished all commits.
func waitForCommitter(h *Hub) { h.runOnCommitter(func() {}) }

// mustMaintain maintains the log, and fails the test if that fails.
func mustMaintain(tb testing.TB, h *Hub) {
	tb.Helper()
	if err := h.maintain(); err != nil {
		tb.Fatal(err)
	}
	if got := h.Status(); !got.Durable || got.LogProblem != "" {
		tb.Fatalf("status is %+v", got)
	}
}

// While the log cannot be written, commits go on in memory. Later a new log gets all events.
func TestLogFailsAndRecovers(t *testing.T) {
	log := &memoryLog{room: 1 << 20}
	h := newHub(t, Config{Log: log})
	fill(t, h, 2)
	log.writeErr = syscall.EIO
	fill(t, h, 1000)
	if got := h.Status(); got.Durable || got.LogProblem != syscall.EIO.Error() || got.Last != 1002 {
		t.Fatalf("status is %+v", got)
	}
	if !log.current.abandoned {
		t.Error("the log is not marked as abandoned")
	}
	if err := h.maintain(); !errors.Is(err, syscall.EIO) {
		t.Errorf("maintain: %v", err)
	}
	// The clock was set back meanwhile.
	back := time.UnixMicro(7)
	h.ring[500].Time = back
	log.writeErr = nil
	mustMaintain(t, h)
	if first, next := log.holds(); first != 1 || next != 1003 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
	again := reopen(t, log)
	if got, want := again.Status(), h.Status(); got != want {
		t.Errorf("after a restart status is %+v, want %+v", got, want)
	}
	if got := again.ring[500]; !got.Time.Equal(back) || !again.ring[501].Time.Equal(h.ring[501].Time) {
		t.Errorf("times are %v, %v", got.Time, again.ring[501].Time)
	}
}

// A process that is killed while the log lacks published events must not restart in the same epoch.
func TestRestartAfterLogFailureBeginsEpoch(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	fill(t, h, 2)
	log.writeErr = syscall.ENOSPC
	fill(t, h, 1)
	before := h.Status()
	log.writeErr = nil
	again := reopen(t, log)
	if got := again.Status(); got.Epoch == before.Epoch || got.Last != 2 {
		t.Errorf("status is %+v", got)
	}
	if _, err := again.Subscribe(Filter{}, before.Cursor()); !errors.As(err, new(*GoneError)) {
		t.Errorf("Subscribe with a cursor of the old epoch: %v", err)
	}
	log.writeErr = syscall.EIO
	h.Close()
	if log.current.clean {
		t.Error("a log that lacks events was closed as clean")
	}
}

// Close writes the missing events if the log works again.
func TestCloseWritesMissingEvents(t *testing.T) {
	log := &memoryLog{room: 1 << 20}
	h := newHub(t, Config{Log: log})
	log.writeErr = syscall.EIO
	fill(t, h, 3)
	log.writeErr = nil
	h.Close()
	if _, next := log.holds(); !log.current.clean || next != 4 {
		t.Errorf("clean %v, the log holds up to %d", log.current.clean, next-1)
	}
}

// If the mark cannot be written, the epoch changes, because a restart from that log reuses the numbers.
func TestMarkFailureChangesEpoch(t *testing.T) {
	log := &memoryLog{room: 1 << 20}
	h := newHub(t, Config{Log: log})
	fill(t, h, 2)
	stored := h.Status()
	log.writeErr, log.markErr = syscall.EROFS, syscall.EROFS
	fill(t, h, 3)
	lacking := h.Status()
	fill(t, h, 1)
	if h.Status().Epoch != lacking.Epoch || lacking.Epoch == stored.Epoch {
		t.Errorf("epochs are %s, %s, %s", stored.Epoch, lacking.Epoch, h.Status().Epoch)
	}
	log.writeErr, log.markErr = nil, nil
	again := reopen(t, log)
	fill(t, again, 10)
	if again.Status().Epoch != stored.Epoch {
		t.Errorf("epoch is %s, was %s", again.Status().Epoch, stored.Epoch)
	}
	if _, err := again.Subscribe(Filter{}, lacking.Cursor()); !errors.As(err, new(*GoneError)) {
		t.Errorf("Subscribe with a cursor of the ended epoch: %v", err)
	}
	wantPoll(t, subscribe(t, again, Filter{}, stored.Cursor()), 20, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	// The first hub is still there, and writes a log of its own.
	mustMaintain(t, h)
	if got := reopen(t, log).Status(); got.Epoch != lacking.Epoch || got.Last != 6 {
		t.Errorf("status is %+v", got)
	}
}

// After a failed sync a new log is written, because the old one may lack records.
func TestSyncFails(t *testing.T) {
	log := &memoryLog{room: 1 << 20, syncErr: syscall.EIO}
	h := newHub(t, Config{Log: log})
	fill(t, h, 3)
	old := log.current
	if err := h.maintain(); !errors.Is(err, syscall.EIO) || h.Status().Durable || !old.abandoned {
		t.Errorf("maintain: %v, durable %v", err, h.Status().Durable)
	}
	log.syncErr = nil
	mustMaintain(t, h)
	if first, next := log.holds(); log.current == old || first != 1 || next != 4 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
}

func TestRotationBeginsWithTheViews(t *testing.T) {
	log := &memoryLog{full: 3}
	h := newHub(t, Config{Log: log})
	for i := range snapshotPart + 10 {
		commit(t, h, newEvent(t, "state", opt("pool", "p"), opt("id", fmt.Sprint(i)), opt("state", "running")))
	}
	waitForCommitter(h)
	log.current.segments = log.current.segments[len(log.current.segments)-1:]
	again := reopen(t, log)
	got, _ := again.Containers()
	want, _ := h.Containers()
	if !slices.Equal(got, want) || len(got) != snapshotPart+10 {
		t.Errorf("%d containers, want %d", len(got), len(want))
	}
	if again.Status().Last != h.Status().Last {
		t.Errorf("status is %+v", again.Status())
	}
}

// After an incomplete snapshot or a hole in the log, the views may lack something. So the epoch changes.
func TestDamagedSnapshotBeginsEpoch(t *testing.T) {
	for name, spoil := range map[string]func(*memoryWriter){
		"half a snapshot at the end": func(w *memoryWriter) {
			newest := &w.segments[len(w.segments)-1]
			*newest = (*newest)[:1]
		},
		"nothing but half a snapshot": func(w *memoryWriter) { w.segments = [][]Record{w.segments[len(w.segments)-1][:1]} },
		"half a snapshot without its beginning": func(w *memoryWriter) {
			w.segments = [][]Record{w.segments[len(w.segments)-1][1:]}
		},
		"events within a snapshot": func(w *memoryWriter) {
			parts := w.segments[len(w.segments)-1]
			empty := Record{First: parts[0].First, Data: appendBatch(nil, &Batch{Place: "x"})}
			w.segments = [][]Record{{parts[0], empty, parts[1]}}
		},
		"a hole": func(w *memoryWriter) { w.segments = [][]Record{slices.Delete(w.segments[0], 4, 6)} },
	} {
		t.Run(name, func(t *testing.T) {
			log := &memoryLog{full: snapshotPart + 2}
			h := newHub(t, Config{Log: log, History: 2 * snapshotPart})
			for i := range snapshotPart + 2 {
				commit(t, h, newEvent(t, "state", opt("pool", "p"), opt("id", fmt.Sprint(i)), opt("state", "running")))
			}
			waitForCommitter(h)
			if newest := log.current.segments[1]; len(newest) != 2 {
				t.Fatalf("the newest segment has %d records", len(newest))
			}
			spoil(log.current)
			again := reopen(t, log)
			status := again.Status()
			if status.Epoch == h.Status().Epoch || status.Last != snapshotPart+2 || !status.Durable {
				t.Errorf("status is %+v, was %+v", status, h.Status())
			}
			if got := reopen(t, log).Status(); got != status {
				t.Errorf("after another restart status is %+v, want %+v", got, status)
			}
		})
	}
}

// Run logs a failure once and the recovery once. It syncs within a second of a commit, and otherwise
// does nothing.
func TestRunMaintainsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := &memoryLog{room: 1 << 20}
		h := newHub(t, Config{Log: log, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		stop := runHub(t, h)
		wait := func() { <-afterRetries(2); synctest.Wait() }
		wait()
		if n := log.readCounter(&log.synced); n != 0 {
			t.Errorf("%d syncs of nothing", n)
		}
		fill(t, h, 3)
		<-time.After(syncAfter)
		synctest.Wait()
		if n := log.readCounter(&log.synced); n != 1 {
			t.Errorf("%d syncs", n)
		}
		log.set(func() { log.writeErr = syscall.EROFS })
		fill(t, h, 3)
		wait()
		wait()
		if h.Status().Durable {
			t.Error("durable with a log that fails")
		}
		log.set(func() { log.writeErr = nil })
		wait()
		if !h.Status().Durable {
			t.Error("not durable with a log that works")
		}
		stop()
		if n := strings.Count(said.String(), "level=ERROR"); n != 1 || strings.Count(said.String(), "written again") != 1 {
			t.Errorf("logged: %s", said.String())
		}
	})
}

// If every sync fails, attempts to write a new log back off to one a minute.
func TestRetriesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 20, syncErr: syscall.EIO}
		h := newHub(t, Config{Log: log})
		stop := runHub(t, h)
		creates := func(d time.Duration) int {
			before := log.readCounter(&log.creates)
			<-time.After(d)
			synctest.Wait()
			return log.readCounter(&log.creates) - before
		}
		fill(t, h, 3)
		if n := creates(10 * time.Second); n < 2 {
			t.Errorf("%d attempts in the first 10 seconds", n)
		}
		if n := creates(time.Hour); n < 50 || n > 70 {
			t.Errorf("%d attempts in an hour", n)
		}
		log.set(func() { log.syncErr = nil })
		creates(maxRetryAfter)
		if got := h.Status(); !got.Durable || got.Last != 3 {
			t.Errorf("status is %+v", got)
		}
		fill(t, h, 1)
		creates(2 * maxRetryAfter) // long enough without a failure to reset the back-off
		log.set(func() { log.syncErr = syscall.EIO })
		fill(t, h, 1)
		if n := creates(10 * time.Second); n < 2 {
			t.Errorf("%d attempts in 10 seconds after a recovery", n)
		}
		stop()
	})
}

// failingRotation is a log whose Rotate fails after Finish.
type failingRotation struct{ *memoryLog }

func (l failingRotation) Load(ctx context.Context, replay func(Record) error, whole func() bool) Stored {
	stored := l.memoryLog.Load(ctx, replay, whole)
	w := &failingRotationWriter{Writer: stored.Writer}
	w.finished.Store(true)
	stored.Writer = w
	return stored
}

func (l failingRotation) Create(epoch string) (Writer, error) {
	w, err := l.memoryLog.Create(epoch)
	return &failingRotationWriter{Writer: w}, err
}

type failingRotationWriter struct {
	Writer
	finished atomic.Bool
}

func (w *failingRotationWriter) Rotate(snapshot []Record) error {
	if w.finished.Load() {
		return syscall.EIO
	}
	return w.Writer.Rotate(snapshot)
}

func (w *failingRotationWriter) Finish() error {
	err := w.Writer.Finish()
	w.finished.Store(err == nil)
	return err
}

// Attempts back off also if each new log can be written and the next write to it fails.
func TestNewLogsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 30, full: 1}
		h := newHub(t, Config{Log: failingRotation{log}})
		stop := runHub(t, h)
		for range 10 * 600 {
			fill(t, h, 1)
			time.Sleep(100 * time.Millisecond)
		}
		if n := log.readCounter(&log.creates); n < 10 || n > 20 {
			t.Errorf("%d new logs in ten minutes", n)
		}
		stop()
		h.Close()
	})
}

// The hub syncs the log of a killed process soon after the start, even without a commit.
func TestSyncAfterKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		fill(t, newHub(t, Config{Log: log}), 3)
		h := reopen(t, log)
		stop := runHub(t, h)
		time.Sleep(2 * syncAfter)
		if n := log.readCounter(&log.synced); n != 1 {
			t.Errorf("%d syncs, want 1", n)
		}
		stop()
	})
}
