package owner

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// maxMissed is how many nsids are remembered that were not found. At the limit all
// are dropped, so the last resort comes one walk later for them.
const maxMissed = 4096

// crowding is how soon after it was due a walk comes that somebody waited for. Then
// others do, too, and the walk goes on for their sake when it has found what was wanted.
const crowding = 20 * time.Millisecond

// walk looks for the owner of an nsid, and learns that of others on the way. The pace is
// by the processor time of this thread, so that a busy host does not make it slower.
func (f *Finder) walk(ctx context.Context, wanted int32, now time.Time) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime()
	f.turn++
	f.now = now
	f.mu.Lock()
	stamp := f.stamp
	crowded := !f.walks.next.IsZero() && now.Sub(f.walks.next) < crowding
	since, again := f.missed[wanted]
	f.mu.Unlock()
	if !again {
		since = now
	}
	if own, err := f.kernel.self(); err != nil {
		f.fault(err)
	} else {
		f.own = own
	}
	if f.foreign(wanted) == none {
		return // it is no container's, and not worth a rest
	}
	f.walkGroups(ctx, wanted, crowded)
	if !f.has(wanted) {
		f.walkNames(ctx, wanted, now.Sub(since))
	}
	walked := threadTime()
	f.mu.Lock()
	f.walks.done(time.Now(), walked-start, f.stamp != stamp)
	scan := again && f.scans.due(now)
	f.mu.Unlock()
	if scan && !f.has(wanted) {
		stamp = f.stamp
		f.walkProcesses(ctx, wanted)
		f.mu.Lock()
		f.scans.done(time.Now(), threadTime()-walked, f.stamp != stamp)
		f.mu.Unlock()
	}
	f.miss(wanted, since)
}

// walkGroups goes over the cgroups of containers: first those whose namespace is
// gone, then those that are new, and last it checks that the others are what they were.
// It stops after the step that found what was wanted; in a crowd it goes over all that
// are new.
func (f *Finder) walkGroups(ctx context.Context, wanted int32, crowded bool) {
	if len(f.hierarchies) == 0 {
		f.mountHierarchies()
	}
	f.askUnsettled(ctx)
	until := wanted
	if crowded {
		until = none // which no walk finds
	}
	if f.has(until) {
		return
	}
	for _, h := range f.hierarchies {
		if !f.refresh(ctx, h, until) {
			return
		}
	}
	for _, h := range f.hierarchies {
		for _, g := range h.groups {
			if f.has(wanted) || ctx.Err() != nil {
				return
			}
			if g.turn != f.turn {
				g.turn = f.turn
				f.recheck(g)
			}
		}
	}
}

// askUnsettled asks the containers that walks saw and without an answer that counts.
func (f *Finder) askUnsettled(ctx context.Context) {
	for _, h := range f.hierarchies {
		for _, g := range h.groups {
			if ctx.Err() != nil {
				return
			}
			f.askDue(h, g)
		}
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
	f.ask(g)
}

func (f *Finder) has(nsid int32) bool {
	_, ok := f.Known(nsid)
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

// fault logs an error that nobody else hears of, and the same one only once in a row.
// That a process or a cgroup is gone is none.
func (f *Finder) fault(err error) {
	for _, usual := range []error{errGone, unix.ENOENT, unix.ESRCH, unix.ENODEV} {
		if errors.Is(err, usual) {
			return
		}
	}
	if text := err.Error(); text != f.lastFault {
		f.lastFault = text
		f.log.Warn("owner of a network namespace may stay unknown", slog.Any("error", err))
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
