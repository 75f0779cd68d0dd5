package live

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
)

// Minimum times between two pictures.
const (
	frame    = 100 * time.Millisecond
	keyFrame = 20 * time.Millisecond // after a key
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

	table  *Table
	filter screen.Prompt
	top    int    // first visible row
	shown  string // the problem that is drawn

	mu      sync.Mutex
	rows    []Row // not in the table yet, if updated
	updated bool
	problem string
	changed chan struct{} // holds a token after a change
}

// New returns a view without rows.
func New(config Config) *View {
	return &View{Config: config, table: NewTable(config.Columns), changed: make(chan struct{}, 1)}
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
	if err == nil {
		err = terminal.Init()
	}
	if err != nil {
		return fmt.Errorf("terminal %q: %w", os.Getenv("TERM"), err)
	}
	events, quit, ended := make(chan tcell.Event), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		terminal.ChannelEvents(events, quit)
	}()
	defer func() {
		close(quit)
		terminal.Fini()
		<-ended
	}()
	v.loop(ctx, &screen.Canvas{Screen: terminal}, events)
	return nil
}

// loop draws and reads keys, until ctx is done or the user quits.
func (v *View) loop(ctx context.Context, canvas *screen.Canvas, events <-chan tcell.Event) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var drawn time.Time
	for {
		pause := time.Duration(0)
		select {
		case <-ctx.Done():
			return
		case event, ok := <-events:
			if !ok || !v.handle(canvas, event) {
				return
			}
			pause = keyFrame
		case <-v.changed:
			pause = frame
		case <-timer.C:
		}
		if wait := pause - time.Since(drawn); wait > 0 {
			timer.Reset(wait)
			continue
		}
		next := v.show(canvas, time.Now())
		drawn = time.Now()
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), frame))
		}
	}
}

// show draws the present state, and returns the time when the next mark expires.
func (v *View) show(canvas *screen.Canvas, now time.Time) (next time.Time) {
	v.update(now)
	next = v.table.Expire(now)
	v.draw(canvas)
	return next
}
