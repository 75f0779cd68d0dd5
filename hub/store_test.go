package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogSeesBatchesFirstAndInOrder(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	var saw []string
	log.onAppend = func(r Record) {
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
		t.Error("not durable, but the log works")
	}
	h.Close()
	if _, err := h.Commit(Batch{Events: []*Event{newEvent(t, "late")}}); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	want := []string{"1+2 last 0, 0 containers, 0 links", "3+1 last 2, 1 containers, 1 links"}
	if !slices.Equal(saw, want) {
		t.Errorf("the log saw %q, want %q", saw, want)
	}
	if !log.closed || !log.clean {
		t.Errorf("closed %v, clean %v", log.closed, log.clean)
	}
}

// reopened is the hub that comes after one that was killed.
func reopened(tb testing.TB, log *memoryLog) *Hub {
	tb.Helper()
	return newHub(tb, Config{Log: log})
}

func TestRestartGoesOn(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	state := newEvent(t, "state", opt("pool", "p"), opt("id", "1"), opt("state", "running"), Option{"init_pid", Uint32(7)},
		Option{"more", Dict("s", "v", []Value{String("a"), Variant(Struct([]Value{Bool(true), Int64(-5), Number(KindDouble, 1<<62), Bytes([]byte{0, 255})}))})})
	row := Interface{Ifindex: 3, Veth: "veth1", Name: "eth0", Pool: "p", ID: "1", State: LinkNoCarrier, Announced: true, BoundBy: "osctld.service", Since: time.UnixMicro(1700000000000001)}
	if _, err := h.Commit(Batch{Events: []*Event{state}, Interfaces: []InterfaceChange{{Interface: row}}, Place: "here"}); err != nil {
		t.Fatal(err)
	}
	fill(t, h, 2)
	cursor := FormatCursor(h.Status().Epoch, 1)

	again := reopened(t, log)
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

// While the log cannot be written events go on; when it can again, what it lacks
// is written, and nothing was missed.
func TestLogFailsAndRecovers(t *testing.T) {
	log := &memoryLog{room: 1 << 20}
	h := newHub(t, Config{Log: log})
	fill(t, h, 2)
	log.fails = syscall.EIO
	fill(t, h, 1000)
	if got := h.Status(); got.Durable || got.LogProblem != syscall.EIO.Error() || got.Last != 1002 {
		t.Fatalf("status is %+v", got)
	}
	if log.last != 1002 {
		t.Errorf("announced up to %d", log.last)
	}
	if err := h.tend(); !errors.Is(err, syscall.EIO) {
		t.Errorf("tend: %v", err)
	}
	// The clock was set back meanwhile.
	back := time.UnixMicro(7)
	h.ring[500].Time = back
	log.fails = nil
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	if got := h.Status(); !got.Durable || got.LogProblem != "" {
		t.Errorf("status is %+v", got)
	}
	if first, next := log.holds(); first != 1 || next != 1003 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
	again := reopened(t, log)
	if got, want := again.Status(), h.Status(); got != want {
		t.Errorf("after a restart status is %+v, want %+v", got, want)
	}
	if got := again.ring[500]; !got.Time.Equal(back) || !again.ring[501].Time.Equal(h.ring[501].Time) {
		t.Errorf("times are %v, %v", got.Time, again.ring[501].Time)
	}
}

// A process that ends while the log lacks what was announced must not go on with the
// same epoch.
func TestRestartWhileBehindBeginsAnEpoch(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	fill(t, h, 2)
	log.fails = syscall.ENOSPC
	fill(t, h, 1)
	cursor := h.Status()
	log.fails = nil
	again := reopened(t, log)
	if got := again.Status(); got.Epoch == cursor.Epoch || got.Last != 2 {
		t.Errorf("status is %+v", got)
	}
	if _, err := again.Subscribe(Filter{}, cursor.Cursor()); !errors.As(err, new(*GoneError)) {
		t.Errorf("Subscribe with a cursor of before: %v", err)
	}
	log.fails = syscall.ENOSPC
	h.Close()
	if log.clean {
		t.Error("a log that lacks events was closed as clean")
	}
}

// Close gives what the log lacks a last chance.
func TestCloseWritesWhatIsMissing(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	log.fails = syscall.EIO
	fill(t, h, 3)
	log.fails = nil
	h.Close()
	if _, next := log.holds(); !log.clean || next != 4 {
		t.Errorf("clean %v, the log holds up to %d", log.clean, next-1)
	}
}

// What is announced and noted nowhere must not be of an epoch that a restart goes on
// with: its numbers are given again.
func TestUnnotedIsOfAnotherEpoch(t *testing.T) {
	log := &memoryLog{room: 1 << 20}
	h := newHub(t, Config{Log: log})
	fill(t, h, 2)
	noted := h.Status()
	log.fails, log.noteFails = syscall.EROFS, syscall.EROFS
	fill(t, h, 3)
	unnoted := h.Status()
	fill(t, h, 1)
	if h.Status().Epoch != unnoted.Epoch || unnoted.Epoch == noted.Epoch {
		t.Errorf("epochs are %s, %s, %s", noted.Epoch, unnoted.Epoch, h.Status().Epoch)
	}
	log.fails, log.noteFails = nil, nil
	again := reopened(t, log)
	fill(t, again, 10)
	if again.Status().Epoch != noted.Epoch {
		t.Errorf("epoch is %s, was %s", again.Status().Epoch, noted.Epoch)
	}
	if _, err := again.Subscribe(Filter{}, unnoted.Cursor()); !errors.As(err, new(*GoneError)) {
		t.Errorf("Subscribe with a cursor that was noted nowhere: %v", err)
	}
	wantPoll(t, subscribe(t, again, Filter{}, noted.Cursor()), 20, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	// The first one lives on, and is noted again.
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	if got := reopened(t, log).Status(); got.Epoch != unnoted.Epoch || got.Last != 6 {
		t.Errorf("status is %+v", got)
	}
}

// A ring that laps while the log cannot be written leaves no hole in the log.
func TestLappedLogIsWrittenAnew(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log, History: 16})
	fill(t, h, 10)
	log.fails = syscall.EIO
	fill(t, h, 30)
	log.fails = nil
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	first, next := log.holds()
	if first < 25 || first > 27 || next != 41 || len(log.segments) != 1 {
		t.Errorf("the log holds %d to %d in %d segments", first, next-1, len(log.segments))
	}
}

// Commits that lap the ring while it is written to the log make the attempt fail, not the log.
func TestLappedWhileWriting(t *testing.T) {
	log := &memoryLog{room: 1 << 30}
	h := newHub(t, Config{Log: log, History: 2 * catchUpStep})
	log.fails = syscall.EIO
	fill(t, h, 3*catchUpStep)
	log.fails = nil
	begun := 0
	log.onAppend = func(Record) {
		if begun++; begun == 1 {
			log.mu.Unlock() // as the hub notes while the log takes what it lacks
			fill(t, h, 2*catchUpStep)
			log.mu.Lock()
		}
	}
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	if got, want := reopened(t, log).Status().Last, h.Status().Last; got != want {
		t.Errorf("the log holds up to %d, want %d", got, want)
	}
	last := uint64(0)
	for _, r := range log.segments[0] {
		if last != 0 && r.First != last+1 {
			t.Errorf("event %d follows %d", r.First, last)
		}
		last = r.First + uint64(r.Count) - 1
	}
}

// A snapshot that is not whole leaves views that may lack something: another epoch.
func TestTornSnapshotBeginsAnEpoch(t *testing.T) {
	log := &memoryLog{full: 3}
	h := newHub(t, Config{Log: log})
	for i := range snapshotPart + 10 {
		state := newEvent(t, "state", opt("pool", "p"), opt("id", fmt.Sprint(i)), opt("state", "running"))
		if _, err := h.Commit(Batch{Events: []*Event{state}}); err != nil {
			t.Fatal(err)
		}
	}
	newest := log.segments[len(log.segments)-1]
	if len(newest) < 2 || newest[1].Count != 0 {
		t.Fatalf("the newest segment has %d records", len(newest))
	}
	log.segments = [][]Record{newest[:1]}
	log.last = newest[0].First - 1
	again := reopened(t, log)
	if got := again.Status(); got.Epoch == h.Status().Epoch || got.Last != newest[0].First-1 || !got.Durable {
		t.Errorf("status is %+v", got)
	}
	status := again.Status()
	if got := reopened(t, log).Status(); got != status {
		t.Errorf("after one more restart status is %+v, want %+v", got, status)
	}
}

// A full disk costs old events in the log before it costs new ones.
func TestNoRoomDropsOldest(t *testing.T) {
	log := &memoryLog{room: 40 * int64(newEvent(t, "fill").size) / memoryToStored}
	h := newHub(t, Config{Log: log})
	fill(t, h, 100)
	log.fails = syscall.ENOSPC
	fill(t, h, 50)
	_ = h.tend()
	log.fails = nil
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	first, next := log.holds()
	if next != 151 || first < 101 || first > 140 {
		t.Errorf("the log holds %d to %d", first, next-1)
	}
	if got := h.Status(); !got.Durable || got.Oldest != 1 {
		t.Errorf("status is %+v", got)
	}
	if got := reopened(t, log).Status(); got.Oldest != first || got.Last != 150 || got.Epoch != h.Status().Epoch {
		t.Errorf("after a restart status is %+v", got)
	}
}

// A failed sync leaves nothing to rely on: all is written anew.
func TestFailedSyncWritesAnew(t *testing.T) {
	log := &memoryLog{room: 1 << 20, syncs: syscall.EIO}
	h := newHub(t, Config{Log: log})
	fill(t, h, 3)
	if err := h.tend(); !errors.Is(err, syscall.EIO) || h.Status().Durable {
		t.Errorf("tend: %v, durable %v", err, h.Status().Durable)
	}
	log.syncs = nil
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	if first, next := log.holds(); len(log.segments) != 1 || first != 1 || next != 4 || !h.Status().Durable {
		t.Errorf("the log holds %d to %d in %d segments", first, next-1, len(log.segments))
	}
}

func TestRotationBeginsWithTheViews(t *testing.T) {
	log := &memoryLog{full: 3}
	h := newHub(t, Config{Log: log})
	for i := range snapshotPart + 10 {
		state := newEvent(t, "state", opt("pool", "p"), opt("id", fmt.Sprint(i)), opt("state", "running"))
		if _, err := h.Commit(Batch{Events: []*Event{state}}); err != nil {
			t.Fatal(err)
		}
	}
	log.segments = log.segments[len(log.segments)-1:]
	again := reopened(t, log)
	got, _ := again.Containers()
	want, _ := h.Containers()
	if !slices.Equal(got, want) || len(got) != snapshotPart+10 {
		t.Errorf("%d containers, want %d", len(got), len(want))
	}
	if again.Status().Last != h.Status().Last {
		t.Errorf("status is %+v", again.Status())
	}
}

// Run says once that there is trouble and once that it is over, and syncs within a
// second of a commit; with nothing to do it does nothing.
func TestRunTendsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := &memoryLog{room: 1 << 20}
		h := newHub(t, Config{Log: log, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		wait := func() { <-afterRetries(2); synctest.Wait() }
		wait()
		if n := log.syncCount(); n != 0 {
			t.Errorf("%d syncs of nothing", n)
		}
		fill(t, h, 3)
		<-time.After(syncAfter)
		synctest.Wait()
		if n := log.syncCount(); n != 1 {
			t.Errorf("%d syncs", n)
		}
		log.mu.Lock()
		log.fails = syscall.EROFS
		log.mu.Unlock()
		fill(t, h, 3)
		wait()
		wait()
		if h.Status().Durable {
			t.Error("durable, but the log fails")
		}
		log.mu.Lock()
		log.fails = nil
		log.mu.Unlock()
		wait()
		if !h.Status().Durable {
			t.Error("not durable, but the log works")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(said.String(), "level=ERROR"); n != 1 || strings.Count(said.String(), "written again") != 1 {
			t.Errorf("the hub said: %s", said.String())
		}
	})
}

// Once the log has all, but cannot note it, nothing is announced as if it could.
func TestCaughtUpAndUnnoted(t *testing.T) {
	log := &memoryLog{room: 1 << 20}
	h := newHub(t, Config{Log: log})
	log.fails, log.noteFails = syscall.EIO, syscall.EIO
	fill(t, h, 2)
	log.fails = nil
	if err := h.tend(); err == nil || h.Status().Durable {
		t.Errorf("tend: %v, status is %+v", err, h.Status())
	}
	fill(t, h, 2)
	log.noteFails = nil
	if err := h.tend(); err != nil {
		t.Fatal(err)
	}
	noted := h.Status()
	fill(t, h, 1)
	log.fails, log.noteFails = syscall.EIO, syscall.EIO
	fill(t, h, 3)
	unnoted := h.Status()
	if !noted.Durable || unnoted.Epoch == noted.Epoch {
		t.Errorf("status was %+v, is %+v", noted, unnoted)
	}
	log.fails, log.noteFails = nil, nil
	again := reopened(t, log)
	fill(t, again, 10)
	if _, err := again.Subscribe(Filter{}, unnoted.Cursor()); !errors.As(err, new(*GoneError)) {
		t.Errorf("Subscribe with a cursor that was noted nowhere: %v", err)
	}
}
