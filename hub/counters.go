package hub

import "strings"

// Names of counters, see [Hub.Counters].
const (
	CounterLapped   = "lapped"           // times a subscriber was lapped
	CounterRefused  = "reports_refused"  // refused calls of Report and ReportBatch
	CounterResyncs  = "resyncs"          // comparisons of the link table with a new dump
	CounterOverruns = "netlink_overruns" // times the kernel dropped link messages
	counterOther    = "events_other"     // events of types beyond the first maxCounters
	counterOfType   = "events_"          // followed by the type
	maxCounters     = 128                // of types, and of names
)

// counters are guarded by the hub's lock.
type counters struct {
	// events counts by type. The values are pointers, because an assignment to the map could
	// replace a key by an equal one that is part of an event, and keep that event alive.
	events map[string]*uint64
	named  map[string]uint64
}

// newCounters returns the counters of a new hub. Named counters start at 0, so that monitoring sees
// their first increase.
func newCounters() counters {
	return counters{events: map[string]*uint64{}, named: map[string]uint64{
		CounterLapped: 0, CounterRefused: 0, CounterResyncs: 0, CounterOverruns: 0,
	}}
}

// addEvent counts an event by type. Types after the first maxCounters share one counter.
func (c *counters) addEvent(typ string) {
	n := c.events[typ]
	if n == nil {
		if len(c.events) >= maxCounters {
			c.named[counterOther]++
			return
		}
		n = new(uint64)
		c.events[strings.Clone(typ)] = n // typ is part of the event
	}
	*n++
}

func (c *counters) add(name string, n uint64) {
	if _, ok := c.named[name]; ok || len(c.named) < maxCounters {
		c.named[name] += n
	}
}

// Count adds n to a counter; n may be 0 to create it. Names are constants of lower-case letters and
// underscores. Names beyond the first 128 are ignored.
func (h *Hub) Count(name string, n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counters.add(name, n)
	h.signalChange()
}

// Counters returns all counters since the hub was made: events_TYPE for each type seen, events_other
// for types beyond the first 128, and the named ones.
func (h *Hub) Counters() map[string]uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[string]uint64, len(h.counters.events)+len(h.counters.named))
	for typ, n := range h.counters.events {
		all[counterOfType+typ] = *n
	}
	for name, n := range h.counters.named {
		all[name] += n
	}
	return all
}
