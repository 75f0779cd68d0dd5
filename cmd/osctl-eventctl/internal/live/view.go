package live

import (
	"context"
	"sync"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// Config configures a [View].
type Config struct {
	Title       string // of the rows, like "interfaces"
	Columns     []string
	StateColumn int // the column with the state, which is coloured
	Colour      bool
}

// View shows a table on the terminal of the process until the user quits. SetRows and SetProblem
// may be called from any goroutine, before and while the view runs.
type View struct {
	Config

	table  *table
	filter screen.Prompt
	top    int    // first visible row
	page   int    // number of visible rows
	shown  string // the problem that is drawn

	mu      sync.Mutex
	rows    []Row // not in the table yet, if updated
	updated bool
	problem string
	changed chan struct{} // holds a token after a change
}

// New returns a view without rows.
func New(config Config) *View {
	return &View{Config: config, table: newTable(config.Columns), changed: make(chan struct{}, 1)}
}

// SetRows replaces all rows. The view owns them from then on.
func (v *View) SetRows(rows []Row) {
	v.mu.Lock()
	v.rows, v.updated = rows, true
	v.mu.Unlock()
	v.wake()
}

// SetProblem shows a problem in place of the keys. "" removes it.
func (v *View) SetProblem(text string) {
	v.mu.Lock()
	v.problem = text
	v.mu.Unlock()
	v.wake()
}

// wake leaves a token. One is enough, because update takes all changes at once.
func (v *View) wake() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// update moves new rows and the problem into what is drawn.
func (v *View) update(now time.Time) {
	v.mu.Lock()
	rows, updated := v.rows, v.updated
	v.rows, v.updated, v.shown = nil, false, v.problem
	v.mu.Unlock()
	if updated {
		v.table.Set(rows, now)
	}
}

// Run shows the view until ctx is done or the user quits. It fails only if the terminal cannot be
// used.
func (v *View) Run(ctx context.Context) error {
	terminal, err := screen.Open()
	if err != nil {
		return err
	}
	return screen.Run(ctx, terminal, v.changed, v)
}

// HandleKey implements [screen.View].
func (v *View) HandleKey(event *tcell.EventKey) bool {
	switch key, letter := event.Key(), screen.Letter(event); {
	case v.filter.Open:
		v.filter.HandleKey(event)
		v.table.Filter(v.filter.Text)
	case key == tcell.KeyEscape:
		v.filter.Text = ""
		v.table.Filter("")
	case key == tcell.KeyLeft, letter == '<':
		v.table.Sort(-1)
	case key == tcell.KeyRight, letter == '>', letter == 's':
		v.table.Sort(1)
	case letter == 'r':
		v.table.Reverse()
	case letter == '/':
		v.filter.Start()
	case letter == 'q':
		return false
	default:
		v.table.Move(screen.Movement(event, v.page))
	}
	return true
}
