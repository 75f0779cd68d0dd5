package bus

import (
	"log/slog"
	"time"
)

const refusalInterval = time.Minute // between log lines

// Names of the counters.
const (
	CounterOverLimit = "calls_over_limit" // refused calls, because too many were queued
	CounterIgnored   = "messages_ignored" // messages that are neither calls nor from the bus
)

// refusals counts refused calls, and logs them at most once a minute. Callers that want no reply learn of
// the refusal only there. Only the goroutine that reads calls uses it.
type refusals struct {
	log      *slog.Logger
	count    func(name string, n uint64)
	unlogged uint64    // refused since the last log line
	loggedAt time.Time // zero before the first log line
}

// add counts one refused call of a user.
func (r *refusals) add(user string) {
	r.count(CounterOverLimit, 1)
	r.unlogged++
	if now := time.Now(); now.Sub(r.loggedAt) >= refusalInterval {
		r.log.Warn("refused calls: too many are queued", slog.Uint64("refused", r.unlogged), slog.String("last_user", user))
		r.unlogged, r.loggedAt = 0, now
	}
}
