package dbusapi

import (
	"context"
	"log/slog"
	"time"

	"github.com/osctl/eventd/hub"
)

// lapsesInterval is the shortest time between two log lines about skipped signals. A flood skips some
// several times a second.
const lapsesInterval = 10 * time.Second

// lapses are the skipped signals since the last log line.
type lapses struct {
	first, lost uint64
	last        uint64    // number of the last signal ever skipped
	loggedAt    time.Time // time of the last log line
}

// add adds skipped signals. It counts each once, although it gets them again if the bus was lost before
// Lapped was sent.
func (l *lapses) add(lapped *hub.LappedError) {
	first := max(lapped.First, l.last+1)
	if first > lapped.Last {
		return
	}
	if l.lost == 0 {
		l.first = first
	}
	l.last = lapped.Last
	l.lost += lapped.Last - first + 1
}

// logIfDue logs skipped signals, unless there was a log line in the interval.
func (l *lapses) logIfDue(log *slog.Logger, now time.Time) {
	if now.Sub(l.loggedAt) >= lapsesInterval {
		l.logNow(log, now)
	}
}

// logNow logs skipped signals.
func (l *lapses) logNow(log *slog.Logger, now time.Time) {
	if l.lost == 0 {
		return
	}
	log.Warn("skipped signals: the bus is too slow, or replies went first",
		slog.Uint64("lost", l.lost), slog.Uint64("first_seq", l.first), slog.Uint64("last_seq", l.last))
	*l = lapses{last: l.last, loggedAt: now}
}

// untilDue returns a context that is also done when a log line is due.
func (l *lapses) untilDue(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.lost == 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, l.loggedAt.Add(lapsesInterval))
}
