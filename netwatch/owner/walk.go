package owner

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// maxMissed is how many nsids are remembered that were not found. At the limit all
// are dropped, so the last resort comes one walk later for them.
const maxMissed = 4096

// walk looks for the owner of an nsid, and learns that of others on the way. First at
// what is new, which is quick; then, if that is due, at all. The pace is
// by the processor time of this thread, so that a busy host does not make it slower.
func (f *Finder) walk(ctx context.Context, wanted int32, now time.Time) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f.turn++
	f.now = now
	if own, err := f.kernel.self(); err != nil {
		f.fault(err)
	} else {
		f.own = own
	}
	if f.foreign(wanted) == none {
		return // it is no container's, and not worth a rest
	}
	f.mu.Lock()
	since, again := f.missed[wanted]
	f.mu.Unlock()
	if !again {
		since = now
	}
	f.stage(&f.looks, func() {
		f.askKnown(ctx)
		f.follow(ctx)
		f.askUnsettled(ctx)
	})
	if !f.has(wanted) {
		f.stage(&f.walks, func() {
			f.walkGroups(ctx, wanted)
			if !f.has(wanted) {
				f.walkNames(ctx, wanted, now.Sub(since))
			}
		})
	}
	if again && !f.has(wanted) {
		f.stage(&f.scans, func() { f.walkProcesses(ctx, wanted) })
	}
	f.miss(wanted, since)
}

// stage does a part of a walk, if its pace allows.
func (f *Finder) stage(p *pace, do func()) {
	f.mu.Lock()
	due, stamp := p == &f.looks || p.due(f.now, true), f.stamp
	f.mu.Unlock()
	if !due {
		return
	}
	start := threadTime()
	f.helped = 0
	do()
	cost := threadTime() - start + f.helped
	f.mu.Lock()
	defer f.mu.Unlock()
	p.done(time.Now(), cost, int(f.stamp-stamp)) //nolint:gosec // as many as there are containers
}

// walkGroups goes over all cgroups, as far as they are not watched, and then checks that
// containers are what they were. It stops when it has found what was wanted, if that
// makes the next walk no dearer and nobody waits for another.
func (f *Finder) walkGroups(ctx context.Context, wanted int32) {
	defer f.closeShortcuts()
	if len(f.hierarchies) == 0 {
		f.mountHierarchies()
	}
	for _, h := range f.hierarchies {
		if !f.refresh(ctx, h, wanted) {
			return
		}
	}
	waited := f.waited(wanted)
	for _, h := range f.hierarchies {
		for _, g := range h.groups {
			if !waited && f.has(wanted) || ctx.Err() != nil {
				return
			}
			if g.turn != f.turn {
				g.turn = f.turn
				f.recheck(g)
			}
		}
	}
}

// waiting is for how long after the first time somebody may wait for an nsid.
const waiting = time.Second

// waited reports whether others than a wanted one were asked for and not found just now.
func (f *Finder) waited(wanted int32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for nsid, since := range f.missed {
		if nsid != wanted && f.now.Sub(since) < waiting {
			return true
		}
	}
	return false
}

// askKnown asks the containers whose init is known and had no namespace that counts so
// far: they are about to get one, and might be gone after all else that there is to do.
func (f *Finder) askKnown(ctx context.Context) {
	for _, g := range f.unsettled() {
		if ctx.Err() != nil {
			return
		}
		if g.pid != 0 && g.nsid == none {
			f.askDue(g.in, g)
		}
	}
}

// askUnsettled asks the containers that walks saw and without an answer that counts.
func (f *Finder) askUnsettled(ctx context.Context) {
	for _, g := range f.unsettled() {
		if ctx.Err() != nil {
			return
		}
		f.askDue(g.in, g)
	}
}

// unsettled returns the containers without an answer that counts. Mostly that is few
// of many, so those are listed; all are gone over only after something was forgotten.
func (f *Finder) unsettled() []*group {
	if epoch := f.currentEpoch(); epoch != f.openSince {
		f.openSince = epoch
		for _, h := range f.hierarchies {
			for _, g := range h.groups {
				f.reopen(g)
			}
		}
	}
	f.open = slices.DeleteFunc(f.open, func(g *group) bool {
		g.open = !g.gone && !f.settled(g)
		return !g.open
	})
	return f.open
}

// reopen lists a container that may be without an answer that counts.
func (f *Finder) reopen(g *group) {
	if !g.open {
		g.open = true
		f.open = append(f.open, g)
	}
}

// askDue asks a container without an answer that counts, once in a walk.
func (f *Finder) askDue(h *hierarchy, g *group) {
	if g.turn == f.turn || f.settled(g) {
		return
	}
	if t := f.twin(h, g); t != nil {
		g.turn, g.due, g.pid, g.nsid, g.stamp = f.turn, false, t.pid, t.nsid, t.stamp
		return
	}
	if g.pid != 0 && !g.due {
		// It was in no namespace that counts, and mostly still is.
		if nsid, err := f.kernel.byPid(g.pid); err == nil && f.foreign(nsid) == g.nsid && g.nsid == none {
			g.turn = f.turn
			return
		}
	}
	if f.crowd != nil {
		f.crowd.ask(g)
		return
	}
	f.ask(g)
}

func (f *Finder) has(nsid int32) bool {
	_, ok := f.lookUp(nsid)
	return ok
}

// miss remembers an nsid that is not known after a walk.
func (f *Finder) miss(nsid int32, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.known[nsid]; ok {
		return
	}
	if len(f.missed) >= maxMissed {
		clear(f.missed)
	}
	f.missed[nsid] = since
}

// Of errors that nobody else hears of this many are said in that time, each once: who owns a
// cgroup could make ever new ones.
const (
	maxSaid = 16
	saidFor = time.Hour
)

// fault logs an error that nobody else hears of. That a process or a cgroup is gone is none.
func (f *Finder) fault(err error) {
	for _, usual := range []error{errGone, unix.ENOENT, unix.ESRCH, unix.ENODEV} {
		if errors.Is(err, usual) {
			return
		}
	}
	text, now := err.Error(), time.Now()
	f.mu.Lock()
	if now.Sub(f.since) >= saidFor {
		f.said, f.since = map[string]struct{}{}, now
	}
	_, again := f.said[text]
	again = again || len(f.said) >= maxSaid
	if !again {
		f.said[text] = struct{}{}
	}
	last := !again && len(f.said) == maxSaid
	f.mu.Unlock()
	if !again {
		f.log.Warn("owner of a network namespace may stay unknown", slog.Any("error", err), slog.Bool("others_unsaid_for_an_hour", last))
	}
}

// threadTime returns the processor time that the calling thread has used.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
