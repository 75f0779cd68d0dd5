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

// states are the changes of containers' states that wait to be announced, by container: one that
// changes without end does not make more of them. The zero states has none.
type states struct {
	waiting map[containers.Container]*stateChanges
	omitted map[containers.Container]uint32 // changes left out of containers that run, which their next event counts
	seen    uint64                          // containers so far
	added   bool                            // something came since take
	roomAt  time.Time                       // when there may be a token for what take left
}

// stateChanges are the changes of one container.
type stateChanges struct {
	turn    uint64                   // orders the containers
	from    containers.State         // what was announced last, or was before the first change
	changes []containers.StateChange // never empty
	omitted uint32                   // changes before these that are left out
	roomAt  time.Time                // when there may be a token
}

// stateEvent is a state to be announced.
type stateEvent struct {
	containers.StateChange
	omitted uint32
}

// add takes a change.
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
	if len(w.changes) > maxChanges || len(s.waiting) > maxChanged || !w.roomAt.IsZero() {
		s.coalesce(w)
	}
}

// coalesce reduces the changes of a container to their outcome. If that is what was announced last,
// there is nothing to say yet.
func (s *states) coalesce(w *stateChanges) {
	last := len(w.changes) - 1
	outcome := w.changes[last]
	w.omitted += uint32(last) //nolint:gosec // at most maxChanges
	w.changes = append(w.changes[:0], outcome)
	if never := w.from == "" && outcome.To == containers.Stopped; outcome.To != w.from && !never {
		return
	}
	delete(s.waiting, outcome.Container)
	if outcome.To != containers.Stopped { // at least its end will be announced
		s.omitted[outcome.Container] = w.omitted + 1
	}
}

// take returns what is to be announced now, of each container in order. spend takes a token of a
// container, or says when there may be one. Until then the outcome of the container's changes waits.
func (s *states) take(now time.Time, spend func(containers.Container) (at time.Time, ok bool)) (events []stateEvent) {
	if !s.added && (s.roomAt.IsZero() || now.Before(s.roomAt)) {
		return nil
	}
	s.added, s.roomAt = false, time.Time{}
	inOrder := func(a, b *stateChanges) int { return cmp.Compare(a.turn, b.turn) }
	for _, w := range slices.SortedFunc(maps.Values(s.waiting), inOrder) {
		events = append(events, s.takeOf(w, spend)...)
	}
	return events
}

// takeOf is take for one container.
func (s *states) takeOf(w *stateChanges, spend func(containers.Container) (time.Time, bool)) (events []stateEvent) {
	name := w.changes[0].Container
	for len(w.changes) > 0 {
		if at, ok := spend(name); !ok {
			w.roomAt = at
			if s.coalesce(w); s.waiting[name] == w {
				s.roomAt = earlier(s.roomAt, at)
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

// event makes the event of a state.
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
