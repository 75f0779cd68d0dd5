package netwatch

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
)

// Limits of the changes of states that wait to be announced. Beyond them only outcomes are kept.
const (
	maxChanges = 8    // of one container
	maxChanged = 4096 // containers of which more than the outcome is kept
)

// states queues the changes of containers' states until they are announced. The queue of one container
// is bounded. The zero states has none.
type states struct {
	waiting map[containers.Container]*stateChanges
	omitted map[containers.Container]uint32 // changes left out, for the next event of a container that runs
	seen    uint64                          // queues made so far
	added   bool                            // a change was added since take
	tokenAt time.Time                       // when there may be a token for the changes that take left
}

// stateChanges are the changes of one container.
type stateChanges struct {
	turn    uint64                   // orders the containers
	from    containers.State         // the state announced last; before that, the state that the first change left
	changes []containers.StateChange // never empty
	omitted uint32                   // how many changes before these are left out
	tokenAt time.Time                // when there may be a token
}

// stateEvent is a state to be announced.
type stateEvent struct {
	containers.StateChange
	omitted uint32
}

// add queues a change.
func (s *states) add(c containers.StateChange) {
	if s.waiting == nil {
		s.waiting, s.omitted = map[containers.Container]*stateChanges{}, map[containers.Container]uint32{}
	}
	s.added = true
	w := s.waiting[c.Container]
	if w == nil {
		s.seen++
		w = &stateChanges{turn: s.seen, from: c.From, omitted: s.omitted[c.Container]}
		s.waiting[c.Container] = w
		delete(s.omitted, c.Container)
	}
	w.changes = append(w.changes, c)
	if len(w.changes) > maxChanges || len(s.waiting) > maxChanged || !w.tokenAt.IsZero() {
		s.coalesce(w)
	}
}

// coalesce reduces the changes of a container to their outcome, and drops them if the outcome is the
// state that was announced last.
func (s *states) coalesce(w *stateChanges) {
	last := len(w.changes) - 1
	outcome := w.changes[last]
	w.omitted += uint32(last) //nolint:gosec // at most maxChanges
	w.changes = append(w.changes[:0], outcome)
	if never := w.from == "" && outcome.To == containers.Stopped; outcome.To != w.from && !never {
		return
	}
	delete(s.waiting, outcome.Container)
	if outcome.To != containers.Stopped { // another event will follow, at least its end
		s.omitted[outcome.Container] = w.omitted + 1
	}
}

// take returns the changes to announce now, those of each container in order. spend takes a token of a
// container, or returns when there may be one. Until then the outcome of the container's changes waits.
func (s *states) take(now time.Time, spend func(containers.Container) (at time.Time, ok bool)) (events []stateEvent) {
	if !s.added && (s.tokenAt.IsZero() || now.Before(s.tokenAt)) {
		return nil
	}
	s.added, s.tokenAt = false, time.Time{}
	inOrder := func(a, b *stateChanges) int { return cmp.Compare(a.turn, b.turn) }
	for _, w := range slices.SortedFunc(maps.Values(s.waiting), inOrder) {
		events = append(events, s.takeContainer(w, spend)...)
	}
	return events
}

// takeContainer is take for one container.
func (s *states) takeContainer(w *stateChanges, spend func(containers.Container) (time.Time, bool)) (events []stateEvent) {
	name := w.changes[0].Container
	for len(w.changes) > 0 {
		if at, ok := spend(name); !ok {
			w.tokenAt = at
			if s.coalesce(w); s.waiting[name] == w {
				s.tokenAt = earlier(s.tokenAt, at)
			}
			return events
		}
		e := stateEvent{w.changes[0], w.omitted}
		e.Resync = e.Resync || e.omitted > 0
		events = append(events, e)
		w.from, w.changes, w.omitted = w.changes[0].To, w.changes[1:], 0
	}
	delete(s.waiting, name)
	return events
}

// event returns the event of a state.
func (e *stateEvent) event() (*hub.Event, error) {
	options := hub.Options{
		{Name: "pool", Value: hub.String(e.Container.Pool)},
		{Name: "id", Value: hub.String(e.Container.ID)},
		{Name: "state", Value: hub.String(string(e.To))},
	}
	if e.omitted > 0 {
		options = append(options, hub.Option{Name: "coalesced", Value: hub.Uint32(e.omitted)})
	}
	if e.Resync {
		options = append(options, hub.Option{Name: "resync", Value: hub.Bool(true)})
	}
	return hub.NewEvent(hub.TypeState, options, hub.SourceCgroup)
}
