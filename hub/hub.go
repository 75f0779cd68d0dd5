package hub

import (
	"context"
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
	usualEvent          = 4 << 10  // bytes of memory; most events take less
	MaxBatch            = 1024     // events in one Commit
)

// Config configures a [Hub]. The zero Config is ready for use.
type Config struct {
	// History is how many events the ring keeps, DefaultHistory if 0.
	History int
	// HistoryBytes is how much memory the events in the ring may take, approximately; if 0,
	// 4 KiB for each of History, and at least DefaultHistoryBytes. If the newest events are
	// large, the ring keeps fewer than History, but at least one.
	HistoryBytes int
	// Log stores each commit before subscribers see it; nil keeps events in memory only. The
	// hub owns it from New on.
	Log Log
	// Logger reports failures of Log; nil discards them.
	Logger *slog.Logger
}

// Hub numbers, keeps and delivers events. It is safe for concurrent use.
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

// New returns a hub that continues from the content of its log. Without a log it is empty and has a
// new epoch. If the disk hangs (no record for ten to twenty seconds), New gives up the log and the
// hub starts empty, in memory. When ctx is done before that, New returns its error and does
// not wait for the disk; the log is released when the disk responds.
func New(ctx context.Context, config Config) (*Hub, error) {
	if config.History == 0 {
		config.History = DefaultHistory
	}
	if config.HistoryBytes == 0 {
		config.HistoryBytes = max(DefaultHistoryBytes, config.History*usualEvent)
	}
	if config.History < 1 || config.History > MaxHistory || config.HistoryBytes < 0 {
		return nil, fmt.Errorf("hub: history of %d events, %d bytes: expected 1 to %d events",
			config.History, config.HistoryBytes, MaxHistory)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{
		durability: durability{
			log: config.Log, logger: config.Logger, runWake: make(chan struct{}, 1), logLock: make(semaphore, 1),
		},
		epoch: NewEpoch(), state: newState(&config),
		waiters: newWaiterIndex(), counters: newCounters(), changed: make(chan struct{}, 1),
	}
	h.queue.changed.L = &h.queue.mu
	if h.log != nil {
		if err := h.load(ctx, &config); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Close ends the hub: it commits the submitted batches and refuses further ones. Subscriptions end
// with [ErrClosed] once they have read all events. Close syncs and closes the log, so Run must have
// returned. It waits only some seconds for a disk that hangs.
func (h *Hub) Close() {
	if h.closing.Swap(true) {
		return
	}
	if h.log != nil && h.logProblem() != nil {
		_ = tryDisk(diskPatience, h.rewriteIfNeeded) // endLog logs a failure
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
	Durable    bool // each commit goes to the log
	// LogProblem says why Durable is false, or that a write or a sync has taken more than a
	// second. It is "" without a log or a problem.
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
