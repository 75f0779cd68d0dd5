package bus

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// firstRefusal and refusalInterval are how long after the first refused call, and how
	// often from then on, the log is told of refused calls.
	firstRefusal    = time.Second
	refusalInterval = time.Minute

	// maxRefusedUsers is how many users get a line of their own; the others share one.
	maxRefusedUsers = 32
)

// Names of the counters.
const (
	CounterOverLimit = "calls_over_limit" // calls that were refused because too many waited
	CounterIgnored   = "messages_ignored" // messages that are neither calls nor from the bus
)

// refusals counts refused calls, and tells the log of each user's at most once a minute. A
// caller that wants no reply hears of it nowhere else.
type refusals struct {
	log   *slog.Logger
	count func(name string, n uint64)

	mu     sync.Mutex
	users  map[string]uint64 // refused since the log was told
	ticks  sync.WaitGroup    // ticks under way
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

// tick tells the log, and again a minute later unless nothing was refused meanwhile.
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
	r.tell(users)
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

func (r *refusals) tell(users map[string]uint64) {
	for user, n := range users {
		r.log.Warn("calls were refused: too many of this user wait", slog.String("user", user), slog.Uint64("refused", n))
	}
}

// close tells what is left.
func (r *refusals) close() {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.ticks.Wait()
	r.tell(r.take())
}
