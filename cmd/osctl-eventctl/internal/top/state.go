package top

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/hub"
)

// mostEvents is how many of the newest events are kept.
const mostEvents = 2000

// Event is an event as it is shown.
type Event struct {
	Pool, ID, Veth string
	Text           string // one line, safe for a terminal
	Gap            bool   // the line says what is missing
}

// Health says how the service is.
type Health struct {
	Known              bool // the service answered once
	Outage             string
	Version            string
	Durable            bool
	LogProblem         string
	Missing            []string
	Lapped, Lost, Last uint64
}

// State is what the service said. It is safe for concurrent use.
type State struct {
	mu         sync.Mutex
	links      []hub.Interface
	containers []hub.Container
	rows       []Row   // of the two; never changed, only replaced
	events     []Event // oldest first; what is there is never changed
	added      uint64  // events ever
	health     Health
	rates      Rates
	liner      line.Liner
	changed    chan struct{} // holds a token after a change
}

// NewState returns a State that knows nothing. Events of another day than today show their date.
func NewState(today time.Time) *State {
	return &State{liner: line.Liner{Today: today}, changed: make(chan struct{}, 1)}
}

// Changed gives a token after one change, or several.
func (s *State) Changed() <-chan struct{} { return s.changed }

func (s *State) change(do func()) {
	s.mu.Lock()
	do()
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// SetLinks replaces the interfaces.
func (s *State) SetLinks(links []hub.Interface) {
	s.change(func() {
		s.links = links
		s.rows = join(s.links, s.containers)
	})
}

// SetContainers replaces the containers.
func (s *State) SetContainers(containers []hub.Container) {
	s.change(func() {
		s.containers = containers
		s.rows = join(s.links, s.containers)
	})
}

// SetOutage says why the service is away; "" that it is back.
func (s *State) SetOutage(why string) {
	s.change(func() { s.health.Outage = why })
}

// AddEvents adds events, oldest first, and forgets the oldest beyond a limit.
func (s *State) AddEvents(events []*hub.Event) {
	s.change(func() {
		for _, e := range events {
			s.add(s.show(e))
		}
	})
}

// AddGap says that events are missing, how many of them if that is known.
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
	if s.events = append(s.events, e); len(s.events) >= 2*mostEvents {
		s.events = slices.Clone(s.events[len(s.events)-mostEvents:])
	}
}

// show makes what is kept of an event, whose own strings share the memory of a whole reply.
func (s *State) show(e *hub.Event) Event {
	return Event{
		Pool: strings.Clone(e.Pool), ID: strings.Clone(e.ID), Veth: strings.Clone(e.Options.Text("veth")),
		Text: string(s.liner.Append(nil, e)),
	}
}

// Show makes lines of events that are not to be kept in the state.
func (s *State) Show(events []*hub.Event) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := make([]Event, 0, len(events))
	for _, e := range events {
		shown = append(shown, s.show(e))
	}
	return shown
}

// SetProperties takes the properties of the service, as they are at a moment.
func (s *State) SetProperties(p hub.Options, now time.Time) {
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
	s.change(func() {
		health.Outage, health.Lost = s.health.Outage, s.health.Lost
		s.health = health
		s.rates.Sample(counters, value("StartTime").Uint(), now)
	})
}

// Snapshot is the state at one moment.
type Snapshot struct {
	Rows   []Row
	Events []Event // oldest first
	Added  uint64  // events ever
	Health Health
	Series []Series
}

// Snapshot returns the state as it is. It shares rows and events with it.
func (s *State) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Snapshot{
		Rows: s.rows, Events: s.events[max(len(s.events)-mostEvents, 0):], Added: s.added, Health: s.health,
		Series: s.rates.Series(),
	}
}

// Rates counts events a second by type, by the counters of the service, which are right even where
// events are lost on the way.
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
	mostSamples = 300
	mostTypes   = 64
	eventsOf    = "events_" // what the names of these counters begin with
)

// Sample takes the counters of a moment.
func (r *Rates) Sample(counters map[string]uint64, started uint64, now time.Time) {
	span := now.Sub(r.at).Seconds()
	if !r.at.IsZero() && span > 0 {
		if r.types == nil {
			r.types = map[string][]float64{}
		}
		r.samples = min(r.samples+1, mostSamples)
		for name := range counters {
			typ, ok := strings.CutPrefix(name, eventsOf)
			if ok && r.types[typ] == nil && len(r.types) < mostTypes {
				r.types[typ] = make([]float64, r.samples-1, mostSamples)
			}
		}
		for typ, rate := range r.types {
			count := counters[eventsOf+typ]
			if started == r.started && r.counters[eventsOf+typ] <= count {
				count -= r.counters[eventsOf+typ]
			}
			rate = append(rate, float64(count)/span)
			r.types[typ] = rate[max(len(rate)-mostSamples, 0):]
		}
	}
	r.counters, r.started, r.at = counters, started, now
}

// Series returns the rates of all types, the most frequent ones first.
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
	slices.SortStableFunc(all, func(a, b Series) int {
		switch {
		case sum[a.Type] > sum[b.Type]:
			return -1
		case sum[a.Type] < sum[b.Type]:
			return 1
		}
		return 0
	})
	return all
}
