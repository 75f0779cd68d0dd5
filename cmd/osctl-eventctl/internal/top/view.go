package top

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"

	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

const (
	frame     = 100 * time.Millisecond // minimum time between two pictures
	keyFrame  = 20 * time.Millisecond  // the same after a key
	longTitle = 40                     // maximum length of the filter in a title
)

const keysHelp = "↑↓ move  Enter history  / filter  t trouble  p pause  y copy command  q quit"

// Fetch fetches the kept events of a row, oldest first.
type Fetch func(ctx context.Context, row Row) ([]Event, error)

// View shows a State on a screen.
type View struct {
	State   *State
	History Fetch
	Colour  bool

	shown    Snapshot      // the drawn snapshot; it stays the same while the view is paused
	rows     []Row         // the rows that pass the filter
	lines    []Event       // the shown events, oldest first
	selected string        // key of the selected row
	filter   screen.Prompt // words that rows must contain
	trouble  bool          // show only rows in trouble
	paused   bool
	note     string // shown in place of the keys until the next key

	pausedLast uint64 // number of the newest event at the pause

	focus   *Row         // the row whose history is shown
	past    []Event      // that history, nil until it is fetched
	seen    uint64       // Snapshot.Added when the history was requested
	fetched chan history // one history for each call of open

	health, chart, foot *tview.TextView
	table, events       *tview.Table
	root                *tview.Flex
}

// history is the result of a Fetch.
type history struct {
	key    string
	events []Event
	err    error
}

// New returns a view of a state.
func New(state *State, fetch Fetch, colour bool) *View {
	v := &View{State: state, History: fetch, Colour: colour, fetched: make(chan history)}
	v.health, v.chart, v.foot = newText(), newText(), newText()
	v.table = tview.NewTable().SetContent(rowContent{view: v}).SetFixed(1, 0).SetSelectable(true, false).
		SetSelectedStyle(tcell.StyleDefault.Reverse(true))
	v.events = tview.NewTable().SetContent(eventContent{view: v})
	for _, table := range []*tview.Table{v.table, v.events} {
		table.SetBordersColor(tcell.ColorDefault).SetBackgroundColor(tcell.ColorDefault)
	}
	v.root = tview.NewFlex().SetDirection(tview.FlexRow)
	return v
}

func newText() *tview.TextView {
	text := tview.NewTextView().SetDynamicColors(true).SetWrap(false).SetTextStyle(tcell.StyleDefault)
	text.SetBackgroundColor(tcell.ColorDefault)
	return text
}

// Run shows the view on a terminal, which it initializes and restores, until ctx is done or the user
// quits.
func (v *View) Run(ctx context.Context, terminal tcell.Screen) error {
	if err := terminal.Init(); err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	events, quit, ended := make(chan tcell.Event), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		terminal.ChannelEvents(events, quit)
	}()
	defer func() {
		cancel()
		close(quit)
		terminal.Fini()
		<-ended
		if v.focus != nil && v.past == nil {
			<-v.fetched // wait for the goroutine of open
		}
	}()
	v.loop(ctx, &screen.Canvas{Screen: terminal}, events)
	return nil
}

// loop handles keys and changes of the state, and draws after each, but not too often.
func (v *View) loop(ctx context.Context, canvas *screen.Canvas, events <-chan tcell.Event) {
	second := time.NewTicker(time.Second) // updates the column SINCE
	defer second.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	scheduled, drawn := true, time.Now().Add(-frame)
	schedule := func(pause time.Duration) {
		if !scheduled {
			scheduled = true
			next.Reset(max(pause-time.Since(drawn), 0))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-events:
			if !open || !v.handle(ctx, canvas, event) {
				return
			}
			schedule(keyFrame)
		case h := <-v.fetched:
			v.setHistory(h)
			schedule(frame)
		case <-v.State.Changed():
			schedule(frame)
		case <-second.C:
			schedule(frame)
		case <-next.C:
			scheduled = false
			v.update()
			v.draw(canvas)
			drawn = time.Now()
		}
	}
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
	at, _ := v.table.GetSelection()
	for i := range v.rows {
		if at > 1 && v.rows[i].key() == v.selected {
			at = i + 1
		}
	}
	v.selectAt(at)
}

// selectAt selects the row at a line of the table, or the row nearest to it.
func (v *View) selectAt(line int) {
	line = max(min(line, len(v.rows)), 1)
	v.table.Select(line, 0)
	v.selected = ""
	if line <= len(v.rows) {
		v.selected = v.rows[line-1].key()
	}
}

// current returns the selected row, nil if there is none.
func (v *View) current() *Row {
	line, _ := v.table.GetSelection()
	if line < 1 || line > len(v.rows) {
		return nil
	}
	return &v.rows[line-1]
}

// open shows the history of a row.
func (v *View) open(ctx context.Context, row Row) {
	if v.focus != nil && v.past == nil {
		return // one fetch at a time
	}
	v.focus, v.past, v.seen = &row, nil, v.shown.Added
	go func() {
		events, err := v.History(ctx, row)
		if events == nil {
			events = []Event{}
		}
		v.fetched <- history{row.key(), events, err}
	}()
}

// setHistory shows a history, unless the user has left it.
func (v *View) setHistory(h history) {
	if v.focus == nil || v.focus.key() != h.key {
		return
	}
	v.past = h.events
	if h.err != nil {
		v.note = "cannot read the history: " + tview.Escape(h.err.Error())
	}
}

// collectEvents collects the events to show: all, or the history of a row and its later events. The history
// has the events that came while it was fetched. After a gap, numbers may begin anew.
func (v *View) collectEvents() {
	if v.focus == nil {
		v.lines = v.shown.Events
		return
	}
	v.lines = slices.Clone(v.past)
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
			v.lines = append(v.lines, e)
		}
	}
}
