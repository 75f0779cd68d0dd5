package top

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/gdamore/tcell/v2"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// Fetch fetches the kept events of a row, oldest first.
type Fetch func(ctx context.Context, row Row) ([]Event, error)

// View shows a State on a screen.
type View struct {
	State   *State
	History Fetch
	Colour  bool

	terminal tcell.Screen
	shown    Snapshot      // the drawn snapshot; it stays the same while the view is paused
	rows     []Row         // the rows that pass the filter
	top      int           // first visible row
	page     int           // number of visible rows
	position int           // index of the selected row
	selected string        // key of the selected row
	filter   screen.Prompt // words that rows must contain
	trouble  bool          // show only rows in trouble
	paused   bool
	note     string // shown in place of the keys until the next key

	pausedLast uint64 // number of the newest event at the pause

	focus   *Row               // the row whose history is shown
	past    []Event            // that history, oldest first
	seen    uint64             // Snapshot.Added when the history was requested
	fetched chan history       // receives the history; nil unless it is being fetched
	cancel  context.CancelFunc // of the fetch
	fetches sync.WaitGroup
}

// history is the result of a Fetch.
type history struct {
	events []Event
	err    error
}

// New returns a view of a state.
func New(state *State, fetch Fetch, colour bool) *View {
	return &View{State: state, History: fetch, Colour: colour, cancel: func() {}}
}

// Run shows the view on a terminal, until ctx is done or the user quits. It fails only if the terminal cannot be used.
func (v *View) Run(ctx context.Context, terminal tcell.Screen) error {
	defer v.fetches.Wait()
	defer v.endFetch()
	v.terminal = terminal
	return screen.Run(ctx, terminal, v.State.Changed(), v)
}

// update takes a new snapshot. While the view is paused, it updates only the health and the rates.
func (v *View) update() {
	fresh := v.State.Snapshot()
	if v.paused {
		v.shown.Health, v.shown.Series = fresh.Health, fresh.Series
		return
	}
	v.shown = fresh
	v.arrange()
}

// arrange filters the rows, and keeps the selected row selected. A selection at the top of the table stays
// at the top, so that new trouble comes into view.
func (v *View) arrange() {
	v.rows = nil
	text := strings.ToLower(v.filter.Text)
	for _, row := range v.shown.Rows {
		if (!v.trouble || row.Trouble > 0) && row.passes(text) {
			v.rows = append(v.rows, row)
		}
	}
	position := v.position
	if at := slices.IndexFunc(v.rows, func(row Row) bool { return row.key() == v.selected }); position > 0 && at >= 0 {
		position = at
	}
	v.selectAt(position)
}

// selectAt selects the row at a position, or the row nearest to it.
func (v *View) selectAt(position int) {
	v.position = max(min(position, len(v.rows)-1), 0)
	v.selected = ""
	if row := v.current(); row != nil {
		v.selected = row.key()
	}
}

// current returns the selected row, nil if there is none.
func (v *View) current() *Row {
	if len(v.rows) == 0 {
		return nil
	}
	return &v.rows[v.position]
}

// open shows the history of a row, and begins to fetch it.
func (v *View) open(row Row) {
	v.endFetch()
	ctx, cancel := context.WithCancel(context.Background()) // until endFetch
	fetched := make(chan history, 1)                        // takes the history also if nobody waits for it any more
	v.focus, v.past, v.seen, v.fetched, v.cancel = &row, nil, v.shown.Added, fetched, cancel
	v.fetches.Go(func() {
		events, err := v.History(ctx, row)
		fetched <- history{events, err}
		v.State.wake()
	})
}

// endFetch cancels the fetch of a history, if there is one.
func (v *View) endFetch() {
	v.cancel()
	v.fetched = nil
}

// takeHistory takes the history if it has been fetched.
func (v *View) takeHistory() {
	select {
	case h := <-v.fetched:
		v.endFetch()
		v.past = h.events
		if h.err != nil {
			v.note = "cannot read the history: " + terminal.Printable(h.err.Error())
		}
	default:
	}
}

// collectEvents returns the events to show, oldest first: all, or the history of a row and its later events. The
// history has the events that came while it was fetched. After a gap, numbers may begin anew.
func (v *View) collectEvents() []Event {
	if v.focus == nil {
		return v.shown.Events
	}
	events := slices.Clone(v.past)
	last := uint64(0)
	if len(v.past) > 0 {
		last = v.past[len(v.past)-1].Seq
	}
	later := min(v.shown.Added-v.seen, uint64(len(v.shown.Events)))
	for _, e := range v.shown.Events[uint64(len(v.shown.Events))-later:] {
		if e.Gap {
			last = 0
		}
		if e.Gap || e.Seq > last && v.focus.owns(&e) {
			events = append(events, e)
		}
	}
	return events
}
