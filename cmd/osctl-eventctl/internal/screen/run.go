package screen

import (
	"context"
	"time"

	"github.com/gdamore/tcell/v2"
)

// Minimum times between two pictures.
const (
	frame    = 100 * time.Millisecond
	keyFrame = 20 * time.Millisecond // after a key
)

// View is what [Run] shows. Run calls its methods from one goroutine.
type View interface {
	// HandleKey handles a key. It returns false to end the view.
	HandleKey(event *tcell.EventKey) bool
	// Draw draws the present state. next is when to draw again even if nothing changes, zero for never.
	Draw(terminal tcell.Screen) (next time.Time)
}

// Run shows a view on a terminal, which it initializes and restores, until ctx is done, the user quits or the terminal
// is gone. It draws after keys, and when it receives from changed, but at most ten times a second. It fails only if
// the terminal cannot be used.
func Run(ctx context.Context, terminal tcell.Screen, changed <-chan struct{}, v View) error {
	if err := terminal.Init(); err != nil {
		return terminalError(err)
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
	loop(ctx, terminal, events, changed, v)
	return nil
}

// loop draws and reads keys.
func loop(ctx context.Context, terminal tcell.Screen, events <-chan tcell.Event, changed <-chan struct{}, v View) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var drawn time.Time
	for {
		pause := time.Duration(0)
		select {
		case <-ctx.Done():
			return
		case event, ok := <-events:
			if !ok || !handle(event, v) {
				return
			}
			pause = keyFrame
		case <-changed:
			pause = frame
		case <-timer.C:
		}
		if wait := pause - time.Since(drawn); wait > 0 {
			timer.Reset(wait)
			continue
		}
		next := v.Draw(terminal)
		drawn = time.Now()
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), frame))
		}
	}
}

// handle handles an event of the terminal. It returns false to end the view. The events of a new size need nothing but
// a picture: tcell then sends all cells again.
func handle(event tcell.Event, v View) bool {
	switch event := event.(type) {
	case *tcell.EventKey:
		return event.Key() != tcell.KeyCtrlC && v.HandleKey(event)
	case *tcell.EventError:
		return false // the terminal is gone
	}
	return true
}
