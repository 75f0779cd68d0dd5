package bus

import (
	"log/slog"
	"sync"
	"time"
)

const (
	firstRefusal    = time.Second // delay from the first refused call to its log line
	refusalInterval = time.Minute // between further log lines
	maxRefusedUsers = 32          // users with a line of their own; the others share one
)

// Names of the counters.
const (
	CounterOverLimit = "calls_over_limit" // refused calls, because too many were queued
	CounterIgnored   = "messages_ignored" // messages that are neither calls nor from the bus
)

// refusals counts refused calls, and logs them by user, at most once a minute. Callers that want no
// reply learn of the refusal only there.
type refusals struct {
	log   *slog.Logger
	count func(name string, n uint64)

	mu     sync.Mutex
	users  map[string]uint64 // refused since the last log line
	ticks  sync.WaitGroup    // running ticks
	timer  *time.Timer       // nil until the first call is refused
	closed bool
}

// add counts one refused call of a user. It does not wait for the log.
func (r *refusals) add(user string) {
	r.count(CounterOverLimit, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users == nil {
		r.users = map[string]uint64{}
	}
	if _, known := r.users[user]; !known && len(r.users) >= maxRefusedUsers {
		user = "others"
	}
	r.users[user]++
	if r.timer == nil && !r.closed {
		r.timer = time.AfterFunc(firstRefusal, r.tick)
	}
}

// tick logs refused calls, and again a minute later unless there are none.
func (r *refusals) tick() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.ticks.Add(1)
	r.mu.Unlock()
	defer r.ticks.Done()
	users := r.take()
	r.logUsers(users)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
	case len(users) > 0 || len(r.users) > 0:
		r.timer.Reset(refusalInterval)
	default:
		r.timer = nil
	}
}

func (r *refusals) take() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	users := r.users
	r.users = nil
	return users
}

func (r *refusals) logUsers(users map[string]uint64) {
	for user, n := range users {
		r.log.Warn("refused calls: the user has too many queued", slog.String("user", user), slog.Uint64("refused", n))
	}
}

// close stops the timer and logs the remaining refused calls.
func (r *refusals) close() {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.ticks.Wait()
	r.logUsers(r.take())
}
