package live

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gdamore/tcell/v2"
)

// Least times between two pictures.
const (
	frame    = 100 * time.Millisecond
	keyFrame = 20 * time.Millisecond // where a key was pressed
)

// Config says what a [View] shows.
type Config struct {
	Title      string // of the rows, like "interfaces"
	Columns    []string
	ToneColumn int // the column whose cells have a Tone
	Tone       func(cell string) Tone
	Colour     bool
}

// View shows a table on the terminal of the process until the user has enough. Set and
// Trouble may be called from any goroutine, before and while it runs.
type View struct {
	Config
	table  *Table
	typing bool // the filter is being typed
	before string
	top    int // first visible row

	canvas canvas

	mu      sync.Mutex
	rows    []Row // that are not in the table yet
	fresh   bool
	problem string // guarded by mu; trouble is what is drawn
	trouble string
	changed chan struct{} // holds a token after a change
}

// New returns a view without rows.
func New(config Config) *View {
	return &View{Config: config, table: NewTable(config.Columns), changed: make(chan struct{}, 1)}
}

// Set replaces all rows. The view owns them from then on.
func (v *View) Set(rows []Row) {
	v.mu.Lock()
	v.rows, v.fresh = rows, true
	v.mu.Unlock()
	v.wake()
}

// Trouble shows what is wrong in place of the keys; "" that all is well again.
func (v *View) Trouble(text string) {
	v.mu.Lock()
	v.problem = text
	v.mu.Unlock()
	v.wake()
}

// wake leaves a token: one is enough, as all that changed is taken at once.
func (v *View) wake() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// take moves what was set into the table.
func (v *View) take(now time.Time) {
	v.mu.Lock()
	rows, fresh := v.rows, v.fresh
	v.rows, v.fresh, v.trouble = nil, false, v.problem
	v.mu.Unlock()
	if fresh {
		v.table.Set(rows, now)
	}
}

// Run shows the view until ctx is done or the user quits. The error says what is wrong
// with the terminal.
func (v *View) Run(ctx context.Context) error {
	screen, err := tcell.NewScreen()
	if err != nil {
		return fmt.Errorf("terminal %q: %w", os.Getenv("TERM"), err)
	}
	if err := screen.Init(); err != nil {
		return fmt.Errorf("terminal %q: %w", os.Getenv("TERM"), err)
	}
	events, quit, ended := make(chan tcell.Event), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		screen.ChannelEvents(events, quit)
	}()
	defer func() {
		close(quit)
		screen.Fini()
		<-ended
	}()
	v.loop(ctx, screen, events)
	return nil
}

// loop draws and reads keys, until ctx is done or the user quits.
func (v *View) loop(ctx context.Context, screen tcell.Screen, events <-chan tcell.Event) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var drawn time.Time
	for {
		pause := time.Duration(0)
		select {
		case <-ctx.Done():
			return
		case event, ok := <-events:
			if !ok || !v.handle(screen, event) {
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
		next := v.show(screen, time.Now())
		drawn = time.Now()
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), frame))
		}
	}
}

// show draws what there is now, and returns when the next mark is to be taken back.
func (v *View) show(screen tcell.Screen, now time.Time) (next time.Time) {
	v.take(now)
	next = v.table.Expire(now)
	v.draw(screen)
	return next
}
