package dbusapi

import (
	"context"
	"log/slog"
	"time"

	"github.com/osctl/eventd/hub"
)

// lapsesInterval is how often the log is told at most that signals were left out: a flood
// leaves out some several times a second, for as long as it lasts.
const lapsesInterval = 10 * time.Second

// lapses are the signals that were left out since the log was told of any.
type lapses struct {
	first, lost uint64
	last        uint64    // of all that were ever left out
	told        time.Time // when the log was told; zero: never
}

// add is told what was left out. That may come again, when the bus was lost before it was
// told: it counts once.
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

// tell tells the log, unless it was told lately.
func (l *lapses) tell(log *slog.Logger, now time.Time) {
	if now.Sub(l.told) >= lapsesInterval {
		l.flush(log, now)
	}
}

// flush tells the log what it was not told yet.
func (l *lapses) flush(log *slog.Logger, now time.Time) {
	if l.lost == 0 {
		return
	}
	log.Warn("signals were not sent: the bus is too slow, or calls of others went first",
		slog.Uint64("lost", l.lost), slog.Uint64("first_seq", l.first), slog.Uint64("last_seq", l.last))
	*l = lapses{last: l.last, told: now}
}

// bound returns a context that is done when the log is to be told, too.
func (l *lapses) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.lost == 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, l.told.Add(lapsesInterval))
}
