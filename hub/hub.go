package hub

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
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
	durability
	queue   queue
	closing atomic.Bool
	sweeps  sync.WaitGroup // at most one, see startSweep
	changed chan struct{}  // see Changed

	mu     sync.Mutex
	closed bool
	epoch  string
	state
	waiters  waiterIndex
	counters counters
}

// New returns a hub that goes on from what its log holds; without one it is empty
// and has a new epoch. The same if the disk hangs: New gives up reading the log after ten to
// twenty seconds in which nothing came of it, and the hub begins as in any trouble, in memory.
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
		durability: durability{
			log: config.Log, logger: config.Logger, attention: make(chan struct{}, 1), tending: make(semaphore, 1),
		},
		epoch: NewEpoch(), waiters: newWaiterIndex(), counters: newCounters(), changed: make(chan struct{}, 1),
	}
	h.queue.changed.L = &h.queue.mu
	if h.log == nil || !h.load(&config) {
		h.state = newState(&config)
	}
	return h, nil
}

// Close ends the hub: what was submitted is committed, further commits are refused, and
// subscriptions end with [ErrClosed] once they have read what is there. The log is brought to
// the disk and closed, so Run must have returned. It does not wait for a disk that hangs: after
// some seconds it leaves it alone.
func (h *Hub) Close() {
	if h.closing.Swap(true) {
		return
	}
	if h.log != nil && h.logProblem() != nil {
		_ = tryDisk(diskPatience, h.writeMissing) // endLog says what is still missing then
	}
	h.drain()
	h.mu.Lock()
	h.closed = true
	h.waiters.wakeAll(h.next)
	h.mu.Unlock()
	h.sweeps.Wait()
	if h.log != nil {
		h.endLog()
	}
}

// Status is the state of a hub at one instant.
type Status struct {
	Epoch      string
	Oldest     uint64 // number of the oldest event kept; Last+1 if there is none
	Last       uint64 // number of the newest event, 0 if there was none yet
	Interfaces int
	Containers int
	Active     int  // containers that are not stopped
	Durable    bool // everything that is committed goes to the log
	// LogProblem says why it is not Durable, or that the disk is slow: a write or a sync has
	// been under way for more than a second. It is "" if there is no log or no problem.
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
		Interfaces: len(h.views.interfaces), Containers: len(h.views.containers), Active: h.views.active,
		Durable: h.durable(), LogProblem: h.problemText(),
	}
}
