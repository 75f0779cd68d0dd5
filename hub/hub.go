package hub

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Defaults and limits of a [Config].
const (
	DefaultHistory      = 16384    // events
	DefaultHistoryBytes = 64 << 20 // bytes of memory, about
	MaxHistory          = 1 << 24  // events
	usualEvent          = 4 << 10  // bytes, more than most events take
	MaxBatch            = 1024     // events in one Commit
)

// Config configures a [Hub]. The zero Config is ready for use.
type Config struct {
	// History is how many events the ring keeps, DefaultHistory if 0.
	History int
	// HistoryBytes is about how much memory the events in the ring may take; if 0,
	// usualEvent for each of History, and at least DefaultHistoryBytes. The oldest
	// leave early when the newest are large; at least one is kept.
	HistoryBytes int
	// Log is where each commit is appended before anybody sees it; nil keeps
	// events in memory only. The hub owns it from New on, and goes on from what it
	// holds.
	Log Log
	// Logger is where trouble with Log goes; nil discards it.
	Logger *slog.Logger
}

// Hub is the hub. It is safe for concurrent use.
type Hub struct {
	store  store
	sweeps sync.WaitGroup // at most one, see startSweep

	mu       sync.Mutex
	closed   bool
	epoch    string
	ring     []*Event // event seq is at seq % len(ring)
	first    uint64   // number of the oldest event kept
	next     uint64   // number of the next event
	bytes    int      // of all events in the ring
	maxBytes int
	waiters  waiterIndex
	views    views
	counters counters
}

// New returns a hub that goes on from what its log holds; without one it is empty
// and has a new epoch.
func New(config Config) (*Hub, error) {
	if config.History == 0 {
		config.History = DefaultHistory
	}
	if config.HistoryBytes == 0 {
		config.HistoryBytes = max(DefaultHistoryBytes, config.History*usualEvent)
	}
	if config.History < 1 || config.History > MaxHistory || config.HistoryBytes < 0 {
		return nil, fmt.Errorf("hub: history of %d events, %d bytes: expected 1 to %d events", config.History, config.HistoryBytes, MaxHistory)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{
		store: newStore(config.Log, config.Logger), epoch: NewEpoch(), ring: make([]*Event, config.History), first: 1, next: 1,
		maxBytes: config.HistoryBytes, waiters: newWaiterIndex(), views: newViews(), counters: newCounters(),
	}
	h.load()
	return h, nil
}

// Batch is what one [Hub.Commit] takes: events, and the changes to the view of
// interfaces that belong to them. Either may be empty.
type Batch struct {
	Events     []*Event
	Interfaces []InterfaceChange
	// Place, if not empty, says where the interfaces of the view are from now on: in
	// which boot and which network namespace. To the hub it is opaque.
	Place string
}

// Commit takes a batch, all or none, and returns the number of its first event;
// the others follow consecutively. The events come from [NewEvent] and belong to
// the hub from then on. It never waits for a subscriber. The error is
// [ErrClosed] or a [TooLargeError].
func (h *Hub) Commit(batch Batch) (first uint64, err error) {
	if len(batch.Events) > MaxBatch {
		return 0, &TooLargeError{What: "events in one batch", Got: len(batch.Events), Limit: MaxBatch}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, ErrClosed
	}
	first = h.next
	now := time.Now().Round(0).Truncate(time.Microsecond)
	for i, e := range batch.Events {
		e.Seq = first + uint64(i)
		e.Time = now
	}
	h.append(&batch)
	h.views.apply(&batch)
	h.waiters.direct = maxDirect
	for _, e := range batch.Events {
		h.counters.addEvent(e.Type)
		h.push(e)
		h.waiters.wake(e)
	}
	h.startSweep()
	h.rotate()
	return first, nil
}

// push appends a numbered event to the ring and drops what no longer fits.
func (h *Hub) push(e *Event) {
	h.bytes += e.size
	for h.next-h.first >= uint64(len(h.ring)) || h.bytes > h.maxBytes && h.first < h.next {
		slot := &h.ring[h.first%uint64(len(h.ring))]
		h.bytes -= (*slot).size
		*slot = nil
		h.first++
	}
	h.ring[h.next%uint64(len(h.ring))] = e
	h.next++
}

// last returns the number of the newest event, 0 if there was none yet. The
// caller holds the lock.
func (h *Hub) last() uint64 { return h.next - 1 }

// Close ends the hub: commits are refused, and subscriptions end with
// [ErrClosed] once they have read what is there. The log is brought to the disk and
// closed, so Run must have returned.
func (h *Hub) Close() {
	h.mu.Lock()
	first := !h.closed
	if first {
		h.closed = true
		h.waiters.wakeAll(h.next)
	}
	h.mu.Unlock()
	h.sweeps.Wait()
	if first {
		h.closeLog() // nothing is committed any more
	}
}

// Status is the state of a hub at one instant.
type Status struct {
	Epoch      string
	Oldest     uint64 // number of the oldest event kept; Last+1 if there is none
	Last       uint64 // number of the newest event, 0 if there was none yet
	Interfaces int
	Containers int
	Durable    bool // everything that is committed goes to the log
	// LogProblem says why it is not Durable; "" if there is no log or no problem.
	LogProblem string
}

// Cursor returns the cursor after the newest event.
func (s *Status) Cursor() string { return FormatCursor(s.Epoch, s.Last) }

// Status returns the state of the hub.
func (h *Hub) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Status{
		Epoch: h.epoch, Oldest: h.first, Last: h.last(),
		Interfaces: len(h.views.interfaces), Containers: len(h.views.containers),
		Durable: h.store.durable(), LogProblem: h.store.problemText(),
	}
}
