package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/hub"
)

// maxEvents is the number of newest events kept.
const maxEvents = 2000

// Event is an event as a line.
type Event struct {
	Pool, ID, Veth string
	Seq            uint64
	Text           string // one line, safe for a terminal
	Gap            bool   // the line counts missing events
}

// Health is the health of the service.
type Health struct {
	Known              bool   // the service has answered once
	Outage             string // why the service is away
	Version            string
	Durable            bool
	LogProblem         string
	Missing            []string
	Lapped, Lost, Last uint64
}

// State holds the latest data of the service. It is safe for concurrent use.
type State struct {
	mu      sync.Mutex
	rows    []Row   // never modified, only replaced
	events  []Event // oldest first; elements are never modified
	added   uint64  // number of events ever added
	health  Health
	rates   Rates
	format  line.Formatter
	changed chan struct{} // holds a token after a change
}

// NewState returns an empty State. Events of another day than today show their date.
func NewState(today time.Time) *State {
	return &State{format: line.Formatter{Today: today}, changed: make(chan struct{}, 1)}
}

// Changed receives a token after one or more changes.
func (s *State) Changed() <-chan struct{} { return s.changed }

func (s *State) change(do func()) {
	s.mu.Lock()
	do()
	s.mu.Unlock()
	s.wake()
}

// wake leaves a token for Changed.
func (s *State) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// SetOutage sets why the service is away. "" means that it is back.
func (s *State) SetOutage(why string) {
	s.change(func() { s.health.Outage = why })
}

// AddEvents adds events, oldest first. The State keeps the newest events only.
func (s *State) AddEvents(events []*hub.Event) {
	s.change(func() {
		for _, e := range events {
			s.add(s.formatEvent(e))
		}
	})
}

// AddGap adds a line for missing events. lost is their number, 0 if it is unknown.
func (s *State) AddGap(lost uint64) {
	text := "-- earlier events are gone: the service began a new history --"
	if lost > 0 {
		text = fmt.Sprintf("-- lost %d events --", lost)
	}
	s.change(func() {
		s.health.Lost += lost
		s.add(Event{Text: text, Gap: true})
	})
}

func (s *State) add(e Event) {
	s.added++
	if s.events = append(s.events, e); len(s.events) >= 2*maxEvents {
		s.events = slices.Clone(s.events[len(s.events)-maxEvents:])
	}
}

// formatEvent formats an event. It clones strings, because those of e share the memory of a whole reply.
func (s *State) formatEvent(e *hub.Event) Event {
	return Event{
		Pool: strings.Clone(e.Pool), ID: strings.Clone(e.ID), Veth: strings.Clone(e.Options.Text("veth")),
		Seq: e.Seq, Text: string(s.format.Append(nil, e)),
	}
}

// Format formats events without adding them.
func (s *State) Format(events []*hub.Event) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	formatted := make([]Event, 0, len(events))
	for _, e := range events {
		formatted = append(formatted, s.formatEvent(e))
	}
	return formatted
}

// Set replaces the interfaces and containers, and updates the health and the rates from the properties of the
// service at time now.
func (s *State) Set(links []hub.Interface, containers []hub.Container, p hub.Options, now time.Time) {
	value := func(name string) hub.Value { v, _ := p.Get(name); return v }
	counters := map[string]uint64{}
	for items := value("Counters").Items(); len(items) >= 2; items = items[2:] {
		counters[strings.Clone(items[0].Text())] = items[1].Uint()
	}
	health := Health{
		Known: true, Version: strings.Clone(p.Text("Version")), Durable: value("Durable").Bool(), LogProblem: strings.Clone(p.Text("LogProblem")),
		Lapped: counters["lapped"], Last: value("LastSequence").Uint(),
	}
	for _, missing := range value("Missing").Items() {
		health.Missing = append(health.Missing, strings.Clone(missing.Text()))
	}
	rows := joinRows(links, containers)
	s.change(func() {
		s.rows = rows
		health.Outage, health.Lost = s.health.Outage, s.health.Lost
		s.health = health
		s.rates.Sample(counters, value("StartTime").Uint(), now)
	})
}

// Snapshot is the state at one point in time.
type Snapshot struct {
	Rows   []Row
	Events []Event // oldest first
	Added  uint64  // number of events ever added
	Health Health
	Series []Series
}

// Snapshot returns the present state. The slices are shared, and must not be modified.
func (s *State) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Snapshot{
		Rows: s.rows, Events: s.events[max(len(s.events)-maxEvents, 0):], Added: s.added, Health: s.health,
		Series: s.rates.Series(),
	}
}

// Rates computes the events a second by type from the counters of the service. So the rates are
// right even if events were lost on the way.
type Rates struct {
	counters map[string]uint64
	started  uint64
	at       time.Time
	types    map[string][]float64 // oldest first
	samples  int
}

// Series is the events a second of one type, oldest first.
type Series struct {
	Type string
	Rate []float64
}

const (
	maxSamples  = 300
	maxTypes    = 64
	eventPrefix = "events_" // prefix of the counters of events by type
)

// Sample adds the counters at time now. started is the start time of the service.
func (r *Rates) Sample(counters map[string]uint64, started uint64, now time.Time) {
	span := now.Sub(r.at).Seconds()
	if !r.at.IsZero() && span > 0 {
		if r.types == nil {
			r.types = map[string][]float64{}
		}
		r.samples = min(r.samples+1, maxSamples)
		for name := range counters {
			typ, ok := strings.CutPrefix(name, eventPrefix)
			if ok && r.types[typ] == nil && len(r.types) < maxTypes {
				r.types[typ] = make([]float64, r.samples-1, maxSamples)
			}
		}
		for typ, rate := range r.types {
			count := counters[eventPrefix+typ]
			if started == r.started && r.counters[eventPrefix+typ] <= count {
				count -= r.counters[eventPrefix+typ]
			}
			rate = append(rate, float64(count)/span)
			r.types[typ] = rate[max(len(rate)-maxSamples, 0):]
		}
	}
	r.counters, r.started, r.at = counters, started, now
}

// Series returns the rates of all types, the most frequent first.
func (r *Rates) Series() []Series {
	sum := map[string]float64{}
	var all []Series
	for _, typ := range slices.Sorted(maps.Keys(r.types)) {
		rate := slices.Clone(r.types[typ])
		for _, n := range rate {
			sum[typ] += n
		}
		all = append(all, Series{typ, rate})
	}
	slices.SortStableFunc(all, func(a, b Series) int { return cmp.Compare(sum[b.Type], sum[a.Type]) })
	return all
}
