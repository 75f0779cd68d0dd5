package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// hang makes writes to the log hang until the caller calls letGo.
func (l *memoryLog) hang() (letGo func()) {
	hangs := make(chan struct{})
	l.set(func() { l.beforeWrite = func(Record) { <-hangs } })
	return func() {
		l.set(func() { l.beforeWrite = nil })
		close(hangs)
	}
}

// submit submits n events, each in a batch. The result returns the numbers of the committed ones.
func submit(t *testing.T, h *Hub, n int) (done func() []uint64) {
	t.Helper()
	var mu sync.Mutex
	var numbers []uint64
	for range n {
		err := h.Submit(Batch{Events: []*Event{newEvent(t, "x")}}, func(first uint64, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			numbers = append(numbers, first)
		})
		if err != nil {
			t.Error(err)
		}
	}
	return func() []uint64 {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(numbers)
	}
}

// A write that hangs delays commits for some seconds, and no readers. Then commits go on in memory, and a
// new log is written once the disk works again.
func TestWriteHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 20}
		h := newHub(t, Config{Log: log})
		fill(t, h, 2)
		old := log.current
		letGo := log.hang()
		done := submit(t, h, 3)
		s := subscribe(t, h, Filter{}, CursorOldest)
		wantPoll(t, s, 4, 1, 2)
		if got := h.Status(); got.Last != 2 || got.LogProblem != "" || len(done()) != 0 {
			t.Errorf("status is %+v", got)
		}
		time.Sleep(2 * time.Second)
		if got := h.Status(); got.LogProblem != errSlow.Error() || !got.Durable || len(done()) != 0 {
			t.Errorf("after two seconds status is %+v", got)
		}
		time.Sleep(diskLimit)
		if got := done(); !slices.Equal(got, []uint64{3, 4, 5}) {
			t.Errorf("committed %d, want 3 to 5", got)
		}
		if got := h.Status(); got.LogProblem != errDiskHangs.Error() || got.Durable || !old.abandoned {
			t.Errorf("status is %+v", got)
		}
		wantPoll(t, s, 4, 3, 4, 5)
		if err := h.maintain(); !errors.Is(err, errDiskHangs) || log.readCounter(&log.creates) != 0 {
			t.Errorf("maintain while the write hangs: %v, %d new logs", err, log.readCounter(&log.creates))
		}
		letGo()
		synctest.Wait()
		fill(t, h, 1)
		mustMaintain(t, h)
		if first, next := log.holds(); first != 1 || next != 7 {
			t.Errorf("the log holds %d to %d", first, next-1)
		}
		if got := reopen(t, log).Status(); got != h.Status() {
			t.Errorf("after a restart status is %+v, was %+v", got, h.Status())
		}
		h.Close()
	})
}

// A slow write is no failure.
func TestWriteIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		h := newHub(t, Config{Log: log})
		log.beforeWrite = func(Record) { time.Sleep(2 * time.Second) }
		fill(t, h, 10)
		if got := h.Status(); got.Last != 10 || !got.Durable || got.LogProblem != "" {
			t.Errorf("status is %+v", got)
		}
		if _, next := log.holds(); next != 11 {
			t.Errorf("the log holds up to %d", next-1)
		}
	})
}

// hangSync makes syncs hang until the caller calls letGo.
func (l *memoryLog) hangSync() (letGo func()) {
	hangs := make(chan struct{})
	l.set(func() { l.beforeSync = func() { <-hangs } })
	return func() {
		l.set(func() { l.beforeSync = nil })
		close(hangs)
	}
}

// A sync that hangs is a failure, even without further commits. A new log is written once the disk works
// again, and not before.
func TestSyncHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := &memoryLog{room: 1 << 20}
		h := newHub(t, Config{Log: log, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		stop := runHub(t, h)
		letGo := log.hangSync()
		fill(t, h, 2)
		old := log.current
		time.Sleep(syncAfter + 2*slowAfter)
		synctest.Wait()
		if got := h.Status(); got.LogProblem != errSlow.Error() || !got.Durable {
			t.Errorf("after two seconds status is %+v", got)
		}
		time.Sleep(diskLimit)
		synctest.Wait()
		if got := h.Status(); !strings.Contains(got.LogProblem, errDiskHangs.Error()) || got.Durable || !old.abandoned {
			t.Errorf("status is %+v, abandoned %v", got, old.abandoned)
		}
		fill(t, h, 1)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := log.readCounter(&log.creates); n != 0 || strings.Count(said.String(), "level=ERROR") != 1 {
			t.Errorf("%d new logs while the disk hangs; logged: %s", n, said.String())
		}
		letGo()
		time.Sleep(maxRetryAfter + syncAfter)
		synctest.Wait()
		if got := h.Status(); !got.Durable || got.LogProblem != "" {
			t.Errorf("status is %+v", got)
		}
		if first, next := log.holds(); log.current == old || first != 1 || next != 4 {
			t.Errorf("the log holds %d to %d", first, next-1)
		}
		stop()
		h.Close()
	})
}

// Neither Run nor Close waits for a sync that hangs.
func TestStopBesideHungSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		h := newHub(t, Config{Log: log})
		stop := runHub(t, h)
		letGo := log.hangSync()
		fill(t, h, 1)
		time.Sleep(2 * syncAfter)
		start := time.Now()
		stop()
		h.Close()
		if took := time.Since(start); took > 4*time.Second { // of the bubble
			t.Errorf("it took %v", took)
		}
		letGo()
	})
}

// runHub runs a hub until the caller calls stop.
func runHub(t *testing.T, h *Hub) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}
}

// hungLoad is a log whose Load hangs after some records.
type hungLoad struct {
	*memoryLog
	records int
	pause   time.Duration // before each record
	hangs   chan struct{}
	ctxErr  chan error // the context's error at the end of Load
}

func (l *hungLoad) Load(ctx context.Context, replay func(Record) error, whole func() bool) Stored {
	stored := l.memoryLog.Load(ctx, func(r Record) error {
		time.Sleep(l.pause)
		if l.records--; l.records == -1 {
			<-l.hangs
		}
		return replay(r)
	}, whole)
	l.ctxErr <- ctx.Err()
	return stored
}

// If the disk hangs at the start, the hub starts in memory, in a new epoch, and ignores what Load reads
// later. A new log is written once the disk works again.
func TestLoadHangs(t *testing.T) {
	for _, records := range []int{0, 5} {
		synctest.Test(t, func(t *testing.T) {
			var said bytes.Buffer
			log := &memoryLog{room: 1 << 30}
			h := newHub(t, Config{Log: log})
			fill(t, h, 10)
			before := h.Status()
			h.Close()
			hung := &hungLoad{log, records, 0, make(chan struct{}), make(chan error, 1)}
			start := time.Now()
			h = newHub(t, Config{Log: hung, Logger: slog.New(slog.NewTextHandler(&said, nil))})
			if took := time.Since(start); took > 2*loadPatience { // of the bubble
				t.Errorf("it took %v", took)
			}
			stop := runHub(t, h)
			fill(t, h, 3)
			status := h.Status()
			if status.Epoch == before.Epoch || status.Durable || status.LogProblem != errUnread.Error() || status.Oldest != 1 || status.Last != 3 {
				t.Errorf("status is %+v", status)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := log.readCounter(&log.creates); n != 0 || !strings.Contains(said.String(), errUnread.Error()) {
				t.Errorf("%d new logs while the disk hangs; logged: %s", n, said.String())
			}
			old := log.current
			close(hung.hangs)
			if err := <-hung.ctxErr; err == nil {
				t.Error("the context of Load is not done")
			}
			time.Sleep(maxRetryAfter)
			synctest.Wait()
			if got := h.Status(); got.Epoch != status.Epoch || !got.Durable || got.LogProblem != "" || !old.abandoned {
				t.Errorf("status is %+v, old log abandoned %v", got, old.abandoned)
			}
			want := h.Status()
			stop()
			h.Close()
			if got := reopen(t, log).Status(); got != want {
				t.Errorf("after a restart status is %+v, was %+v", got, want)
			}
		})
	}
}

// New returns when its context is done, even while the disk hangs. It does not mark the log, because
// nothing was published, and releases it when the disk responds.
func TestNewStopsBesideHungLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		fill(t, newHub(t, Config{Log: log}), 1)
		hung := &hungLoad{log, 0, 0, make(chan struct{}), make(chan error, 1)}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		start := time.Now()
		if h, err := New(ctx, Config{Log: hung}); h != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("New returned %v, %v", h, err)
		}
		if took := time.Since(start); took != time.Second { // of the bubble
			t.Errorf("it took %v", took)
		}
		close(hung.hangs)
		synctest.Wait()
		if log.current.abandoned || !log.released {
			t.Errorf("log abandoned %v, released %v", log.current.abandoned, log.released)
		}
	})
}

// Close does not wait for a Load that hangs.
func TestCloseBesideHungLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		fill(t, newHub(t, Config{Log: log}), 1)
		hung := &hungLoad{log, 0, 0, make(chan struct{}), make(chan error, 1)}
		h := newHub(t, Config{Log: hung})
		stop := runHub(t, h)
		time.Sleep(2 * retryAfter)
		start := time.Now()
		stop()
		h.Close()
		if took := time.Since(start); took > 4*time.Second { // of the bubble
			t.Errorf("it took %v", took)
		}
		close(hung.hangs)
	})
}

// New waits for a slow disk.
func TestLoadIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		h := newHub(t, Config{Log: log})
		fill(t, h, 100)
		slow := &hungLoad{log, -1, loadPatience - time.Second, nil, make(chan error, 1)}
		if got := newHub(t, Config{Log: slow}).Status(); got != h.Status() {
			t.Errorf("status is %+v, want %+v", got, h.Status())
		}
	})
}

// hungLog is a log whose writing methods hang.
type hungLog struct {
	*memoryLog
	hangs chan struct{}
}

func (l *hungLog) Load(ctx context.Context, replay func(Record) error, whole func() bool) Stored {
	stored := l.memoryLog.Load(ctx, replay, whole)
	stored.Writer = &hungWriter{Writer: stored.Writer, hangs: l.hangs}
	return stored
}

type hungWriter struct {
	Writer
	hangs chan struct{}
}

func (w *hungWriter) Append(Record) error { <-w.hangs; return nil }
func (w *hungWriter) Abandon() error      { <-w.hangs; return nil }
func (w *hungWriter) Sync() error         { <-w.hangs; return nil }
func (w *hungWriter) Close(bool) error    { <-w.hangs; return nil }

// If the mark hangs, too, the epoch changes.
func TestDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &hungLog{&memoryLog{}, make(chan struct{})}
		h := newHub(t, Config{Log: log})
		before := h.Status()
		fill(t, h, 1)
		if got := h.Status(); got.Epoch == before.Epoch || got.Durable || got.Last != 1 {
			t.Errorf("status is %+v, was %+v", got, before)
		}
		close(log.hangs)
	})
}

// Close does not wait for a write, a sync or a mark that hangs.
func TestCloseOnHungDisk(t *testing.T) {
	for _, appends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := &hungLog{&memoryLog{}, make(chan struct{})}
			h := newHub(t, Config{Log: log})
			var done func() []uint64
			if appends {
				done = submit(t, h, 3)
			}
			synctest.Wait()
			start := time.Now()
			h.Close()
			if took := time.Since(start); took > 4*time.Second { // of the bubble
				t.Errorf("it took %v", took)
			}
			if appends && !slices.Equal(done(), []uint64{1, 2, 3}) {
				t.Errorf("committed %d, want 1 to 3", done())
			}
			close(log.hangs)
		})
	}
}

// Close does not wait for a slow disk to store all submitted batches.
func TestCloseOnSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := &memoryLog{}
		h := newHub(t, Config{Log: log, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		log.beforeWrite = func(Record) { time.Sleep(time.Second) }
		done := submit(t, h, 500)
		start := time.Now()
		h.Close()
		if took := time.Since(start); took > 4*time.Second { // of the bubble
			t.Errorf("it took %v", took)
		}
		if got := len(done()); got != 500 || !log.current.abandoned || !strings.Contains(said.String(), "events are lost") {
			t.Errorf("committed %d of 500; logged: %s", got, said.String())
		}
		time.Sleep(time.Second)
	})
}

// rotationHangs is a log whose Rotate hangs.
type rotationHangs struct{ *hungLog }

func (l rotationHangs) Load(ctx context.Context, replay func(Record) error, whole func() bool) Stored {
	stored := l.memoryLog.Load(ctx, replay, whole)
	stored.Writer = &hungRotation{stored.Writer, l.hangs}
	return stored
}

type hungRotation struct {
	Writer
	hangs chan struct{}
}

func (w *hungRotation) Rotate([]Record) error { <-w.hangs; return nil }

// The hub abandons a log whose Rotate hangs. The commit before it is answered already.
func TestRotationHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := rotationHangs{&hungLog{&memoryLog{full: 2}, make(chan struct{})}}
		h := newHub(t, Config{Log: log})
		start := time.Now()
		fill(t, h, 2)
		if took := time.Since(start); took != 0 { // of the bubble
			t.Errorf("commits took %v", took)
		}
		fill(t, h, 3)
		if got := h.Status(); got.Last != 5 || got.Durable || got.LogProblem != errDiskHangs.Error() {
			t.Errorf("status is %+v", got)
		}
		close(log.hangs)
	})
}

// The queue of commits is bounded by number and by memory, and Close commits the queued batches.
func TestSubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		h := newHub(t, Config{Log: log})
		letGo := log.hang()
		fillQueue := func(e func() *Event) (n int) {
			for ; ; n++ {
				err := h.Submit(Batch{Events: []*Event{e()}}, func(uint64, error) {})
				if errors.Is(err, ErrBusy) {
					return n
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := fillQueue(func() *Event { return newEvent(t, "x") }); n != maxQueued && n != maxQueued+1 { // one may be under way
			t.Errorf("%d batches are queued", n)
		}
		waits := make(chan uint64, 1)
		go func() { waits <- commit(t, h, newEvent(t, "waits")) }()
		synctest.Wait()
		if len(waits) != 0 {
			t.Error("Commit did not wait for room")
		}
		letGo()
		last := <-waits
		letGo = log.hang()
		large := func() *Event { return newEvent(t, "large", Option{"o", Bytes(make([]byte, 1<<20))}) }
		if n := fillQueue(large); n < 6 || n > 10 {
			t.Errorf("%d large batches are queued", n)
		}
		letGo()
		h.Close()
		if err := h.Submit(Batch{}, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Submit: %v", err)
		}
		if got := h.Status(); got.Last < last+6 {
			t.Errorf("batches submitted before Close are not committed: status is %+v", got)
		}
	})
}

// An empty queue takes a batch of any size.
func TestSubmitLarge(t *testing.T) {
	h := newHub(t, Config{})
	if seq := commit(t, h, newEvent(t, "large", Option{"o", Bytes(make([]byte, maxQueuedBytes))})); seq != 1 {
		t.Errorf("number %d", seq)
	}
	err := h.Submit(Batch{Events: make([]*Event, MaxBatch+1)}, nil)
	if _, ok := errors.AsType[*TooLargeError](err); !ok {
		t.Errorf("Submit: %v", err)
	}
}

// With concurrent submitters, each one's batches keep their order, and numbers are consecutive.
func TestSubmittersKeepTheirOrder(t *testing.T) {
	h := newHub(t, Config{Log: &memoryLog{full: 50}})
	var all, each sync.WaitGroup
	for i := range 8 {
		each.Go(func() {
			last := uint64(0)
			for n := range 100 {
				all.Add(1)
				batch := Batch{Events: []*Event{newEvent(t, fmt.Sprint("t", i)), newEvent(t, "y")}}
				err := h.Submit(batch, func(first uint64, err error) {
					if err != nil || first <= last || batch.Events[1].Seq != first+1 {
						t.Errorf("batch %d of submitter %d has number %d after %d, %v", n, i, first, last, err)
					}
					last = first
					all.Done()
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	each.Wait()
	all.Wait()
	if got := h.Status(); got.Last != 8*100*2 {
		t.Errorf("status is %+v", got)
	}
}

// While a disk hangs for an hour, hung writes do not accumulate. Later a new log is written.
func TestHungWritesDoNotAccumulate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 30}
		h := newHub(t, Config{Log: log, History: 100})
		stop := runHub(t, h)
		letGo := log.hang()
		before := runtime.NumGoroutine()
		for range 60 {
			submit(t, h, 1)
			time.Sleep(time.Minute)
		}
		if creates, now := log.readCounter(&log.creates), runtime.NumGoroutine(); creates != 0 || now > before+4 {
			t.Errorf("%d new logs; %d goroutines, %d before", creates, now, before)
		}
		letGo()
		time.Sleep(2 * maxRetryAfter)
		if got := h.Status(); !got.Durable || got.LogProblem != "" || got.Last != 60 {
			t.Errorf("status is %+v", got)
		}
		stop()
		h.Close()
	})
}

// Changed has a token when Status begins to report a slow disk.
func TestChangedWhenDiskIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		h := newHub(t, Config{Log: log})
		fill(t, h, 1)
		<-h.Changed()
		letGo := log.hang()
		submit(t, h, 1)
		start := time.Now()
		<-h.Changed()
		if took := time.Since(start); took > 2*slowAfter || h.Status().LogProblem != errSlow.Error() { // of the bubble
			t.Errorf("after %v status is %+v", took, h.Status())
		}
		letGo()
		h.Close()
	})
}

// Changed has a token when Status no longer reports a slow disk, also after a slow rotation, which
// follows the commit.
func TestChangedWhenDiskIsFastAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{full: 1}
		log.beforeWrite = func(r Record) {
			if r.Data[0] == recordSnapshot {
				time.Sleep(2 * slowAfter)
			}
		}
		h := newHub(t, Config{Log: log})
		fill(t, h, 1)
		<-h.Changed()
		<-h.Changed()
		if got := h.Status(); got.LogProblem != errSlow.Error() {
			t.Fatalf("status is %+v", got)
		}
		select {
		case <-h.Changed():
		case <-time.After(time.Minute): // of the bubble
			t.Errorf("no token; status is %+v", h.Status())
		}
		h.Close()
	})
}
