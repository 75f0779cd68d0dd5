package top

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"
)

const (
	frame     = 100 * time.Millisecond // least time between two pictures
	keyFrame  = 20 * time.Millisecond  // where a key was pressed
	longTitle = 40                     // characters of a filter in a title
)

const keysHelp = "↑↓ move  Enter history  / filter  t trouble  p pause  y copy command  q quit"

// Fetch fetches the events that are kept of a row, oldest first.
type Fetch func(ctx context.Context, row Row) ([]Event, error)

// View shows a State on a screen.
type View struct {
	State   *State
	History Fetch
	Colour  bool

	shown    Snapshot // what is shown; while the view is paused, no other is taken
	rows     []Row    // those of it that the filter passes
	lines    []Event  // events that are shown, oldest first
	selected string   // key of a row
	filter   string
	before   string // the filter before it was typed
	trouble  bool   // only rows in trouble
	paused   bool
	typing   bool
	note     string // in place of the keys, until the next key

	pausedLast uint64 // number of the newest event when the view was paused

	focus   *Row // whose history is shown
	past    []Event
	seen    uint64 // how many events there had been when the history was asked for
	fetched chan history

	health, chart, foot *tview.TextView
	table, events       *tview.Table
	root                *tview.Flex
}

// history is what came of fetching it.
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

// Run shows the view on a screen, which it initializes and ends, until ctx is done or the user quits.
func (v *View) Run(ctx context.Context, screen tcell.Screen) error {
	if err := screen.Init(); err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	events, quit, ended := make(chan tcell.Event), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		screen.ChannelEvents(events, quit)
	}()
	defer func() {
		cancel()
		close(quit)
		screen.Fini()
		<-ended
		if v.focus != nil && v.past == nil {
			<-v.fetched // the goroutine ends
		}
	}()
	v.loop(ctx, &canvas{Screen: screen}, events)
	return nil
}

// loop handles what happens, and draws after it, but not too often.
func (v *View) loop(ctx context.Context, screen *canvas, events <-chan tcell.Event) {
	second := time.NewTicker(time.Second) // how long something lasts
	defer second.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	waiting, drawn := true, time.Now().Add(-frame)
	soon := func(least time.Duration) {
		if !waiting {
			waiting = true
			next.Reset(max(least-time.Since(drawn), 0))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-events:
			if !open || !v.handle(ctx, screen, event) {
				return
			}
			soon(keyFrame)
		case h := <-v.fetched:
			v.takeHistory(h)
			soon(frame)
		case <-v.State.Changed():
			soon(frame)
		case <-second.C:
			soon(frame)
		case <-next.C:
			waiting = false
			v.take()
			v.draw(screen)
			drawn = time.Now()
		}
	}
}

// take takes what the state is now, unless the view is paused.
func (v *View) take() {
	fresh := v.State.Snapshot()
	if v.paused {
		v.shown.Health, v.shown.Series = fresh.Health, fresh.Series
		return
	}
	v.shown = fresh
	v.arrange()
}

// arrange filters the rows, and finds the selected one again. At the top of the table the selection stays there, so
// that new trouble comes into sight.
func (v *View) arrange() {
	v.rows = nil
	text := strings.ToLower(v.filter)
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

// selectAt selects the row at a line of the table, or the nearest one.
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
		return // one at a time
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

func (v *View) takeHistory(h history) {
	if v.focus == nil || v.focus.key() != h.key {
		return
	}
	v.past = h.events
	if h.err != nil {
		v.note = "the history cannot be read: " + tview.Escape(h.err.Error())
	}
}

// collect puts together the events that are shown.
func (v *View) collect() {
	if v.focus == nil {
		v.lines = v.shown.Events
		return
	}
	v.lines = slices.Clone(v.past)
	news := min(v.shown.Added-v.seen, uint64(len(v.shown.Events))) // since then
	for _, e := range v.shown.Events[uint64(len(v.shown.Events))-news:] {
		if e.Gap || v.focus.same(&e) {
			v.lines = append(v.lines, e)
		}
	}
}
