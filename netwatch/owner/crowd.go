package owner

import (
	"runtime"
	"sync"
	"time"
)

const (
	// crowdFor is how many cgroups have to be new for others to help with asking.
	crowdFor = 64
	// maxHelpers is how many help at most, one for each further processor. They share the
	// kernel's locks, so that more would be of little use.
	maxHelpers = 3
)

// crowd asks containers, several at a time, while a walk goes on and finds more. It is
// for the first walk over a host with many of them: to ask takes more than to find them.
type crowd struct {
	f          *Finder
	containers chan *group
	helpers    sync.WaitGroup

	mu    sync.Mutex
	empty []*group      // no process was in
	cost  time.Duration // processor time
}

// gather has others ask for this walk until disperse, if there are processors for them.
func (f *Finder) gather() {
	helpers := f.helpers[:min(len(f.helpers), runtime.GOMAXPROCS(0)-1)]
	if len(helpers) == 0 {
		return
	}
	c := &crowd{f: f, containers: make(chan *group, crowdFor)}
	f.crowd = c
	for _, r := range helpers {
		c.helpers.Go(func() { c.help(r) })
	}
}

// disperse ends what gather began: all are asked then.
func (f *Finder) disperse() {
	c := f.crowd
	if c == nil {
		return
	}
	f.crowd = nil
	close(c.containers)
	for g := range c.containers {
		f.end(g, f.inquire(&f.reader, g)) // ask began it
	}
	c.helpers.Wait()
	f.helped += c.cost
	for _, g := range c.empty {
		f.end(g, false)
	}
}

// ask has a container asked by who has time: this goroutine if nobody else does.
func (c *crowd) ask(g *group) {
	c.f.begin(g)
	select {
	case c.containers <- g:
	default:
		c.f.end(g, c.f.inquire(&c.f.reader, g))
	}
}

// help asks until there will be no more.
func (c *crowd) help(r *reader) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime()
	var empty []*group
	for g := range c.containers {
		if !c.f.inquire(r, g) {
			empty = append(empty, g)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty = append(c.empty, empty...)
	c.cost += threadTime() - start
}
