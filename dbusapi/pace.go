package dbusapi

import (
	"context"
	"maps"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	// fewCalls and fewBytes are how much may wait of a sender that does not crowd: more
	// than one has that waits for each answer, and less than one that floods.
	fewCalls = 4
	fewBytes = 64 << 10

	// paceMemory is for how long a sender counts as one that crowds, or as company, after
	// it last did something to be so.
	paceMemory = 100 * time.Millisecond

	// maxCrowding is how many senders are remembered to crowd.
	maxCrowding = 256

	// busTime is about what a call takes in the bus, with its reply and its signal:
	// dbus-daemon and dbus-broker were seen to pass 35,000 to 50,000 a second.
	busTime = 20 * time.Microsecond

	// slice is how much time senders that crowd have together before they rest; who
	// takes less than a quarter of the time need not.
	slice = 2 * time.Millisecond

	// restShare is how many times as long as the slice, with what it gave the bus to do,
	// its rest is.
	restShare = 2

	// maxRest bounds a rest, so that a bus that is slow for other reasons does not stop
	// anybody.
	maxRest = 20 * time.Millisecond

	// busLimit is how many calls without an answer a dbus-daemon lets a connection have, by
	// default: it refuses more. Whose calls it refuses does not rest: that would make the bus
	// spend its time on refusing, and others wait twice as long. See backlog.refusing.
	busLimit = 128

	// More than fewMissing calls, and more than one for missingShare that were taken, are
	// missing of a sender whose calls the bus refuses. Fewer went elsewhere, or come late: as
	// many as there are goroutines that make them.
	fewMissing   = busLimit
	missingShare = 8

	// maxMissing bounds how many one call says are missing.
	maxMissing = 1 << 16

	// restRoom is which part of the room for calls may be taken while somebody rests.
	restRoom = 8
)

// pace slows senders down that crowd while others are at work. To take turns is not enough
// for these: a call and its reply go through the bus, and whoever keeps 100 calls under
// way keeps it busy all the time, as each answer makes him send the next call. But as he
// waits for answers, those that come later leave the bus idle in between.
//
// A sender crowds that had more than a few calls waiting lately. Company is any
// other that made a call lately, but for pulls, and for what every local user may call.
// With company those that crowd have turns for a slice of time, all together, then rest
// until the bus has done what came of that, and for twice as long as all that took. Alone,
// or among themselves, they never rest, and nobody else ever does.
//
// A flood that waits for no answers cannot be slowed down so, only put off: as long as what
// waits takes less than an eighth of the room for calls, and has not come to the bus's limit.
// Beyond that it is handled as fast as can be: to rest is not worth a call that is refused.
type pace struct {
	crowding map[string]crowding
	crowded  time.Time     // when one of them last did what makes it so
	limited  string        // whose calls the bus refused last
	limit    time.Time     // when
	company  string        // who last made a call and does not crowd
	seen     time.Time     // when
	began    time.Time     // the slice
	used     time.Duration // of it
	resting  bool
}

// crowding is when a sender last did what makes it one that crowds.
type crowding struct {
	many  time.Time // had more than a few waiting
	limit time.Time // had calls refused by the bus
}

// note is told that a call of a sender was taken, which does not have more than a few
// waiting.
func (p *pace) note(m *message, now time.Time) {
	// Who pulls is made to wait, and mostly for what those make that crowd. Who follows
	// sends a ping now and then, see [Follower]: many of them would be company all the time.
	// What every local user may call must not slow down those who may do more.
	switch m.Member {
	case "WaitEvents", "Ping", "GetMachineId", "Introspect":
		return
	}
	if !p.crowds(m.Sender, now) {
		p.company, p.seen = m.Sender, now
	}
}

// crowd is told that a sender has more than a few calls, or bytes of them, waiting.
func (p *pace) crowd(b *backlog, now time.Time) {
	c, known := p.crowding[b.sender]
	if !known && len(p.crowding) >= maxCrowding {
		maps.DeleteFunc(p.crowding, func(_ string, c crowding) bool { return now.Sub(c.many) >= paceMemory })
		if len(p.crowding) >= maxCrowding {
			clear(p.crowding) // they come again with their next calls
		}
	}
	c.many, p.crowded = now, now
	if b.refusing(now) {
		c.limit = now
	} else if b.wanting > busLimit {
		c.limit = time.Time{}
	}
	p.crowding[b.sender] = c
	if p.company == b.sender {
		p.company, p.seen = "", time.Time{} // nobody is company to himself
	}
}

// meet is told of a call that came just now, of a sender that has more than a few waiting.
// It is for reports alone: who may do no more than read must not have fewer signals go out.
func (p *pace) meet(m *message, b *backlog, now time.Time) {
	switch {
	case !m.isReport() || m.Flags&wire.FlagNoReply != 0: // the bus takes any number that want no reply
	case b.refusing(now):
		p.limited, p.limit = b.sender, now
	case b.wanting > busLimit && p.limited == b.sender:
		p.limited, p.limit = "", time.Time{}
	}
}

func (p *pace) crowds(sender string, now time.Time) bool {
	return now.Sub(p.crowding[sender].many) < paceMemory
}

// refused reports whether the bus lately refused calls of a sender, as far as can be told.
func (p *pace) refused(sender string, now time.Time) bool {
	return now.Sub(p.crowding[sender].limit) < paceMemory
}

// slows reports whether a sender has to keep to slices.
func (p *pace) slows(sender string, now time.Time) bool {
	return now.Sub(p.seen) < paceMemory && p.crowds(sender, now)
}

// strain is what senders that crowd cost others that are at work.
type strain int

const (
	unstrained strain = iota // nobody crowds, or nobody else is at work
	uneven                   // somebody crowds
	refusing                 // and the bus lately refused calls of one that does
)

// strain returns what there was lately.
func (p *pace) strain(now time.Time) strain {
	switch {
	case now.Sub(p.seen) >= paceMemory || now.Sub(p.crowded) >= paceMemory:
		return unstrained
	case now.Sub(p.limit) < paceMemory:
		return refusing
	}
	return uneven
}

// spend is told how long a call took, and reports whether a rest is due.
func (p *pace) spend(sender string, from, now time.Time) bool {
	if p.resting || !p.slows(sender, now) {
		return false
	}
	if from.Sub(p.began) > 4*slice {
		p.began, p.used = from, 0
	}
	p.used += now.Sub(from) + busTime
	return p.used >= slice
}

// count notes the serial of a call that was taken, to tell how many others are missing: in
// each stretch of paceMemory. One that comes late, as of goroutines whose numbers are drawn
// before they write, is missing no more.
func (b *backlog) count(m *message, now time.Time) {
	ahead := int32(m.Serial - b.serial) //nolint:gosec // it wraps, as serials do
	if b.taken == 0 || now.Sub(b.since) >= paceMemory {
		b.since, b.taken, b.missing = now, 0, 0
	}
	switch b.taken++; {
	case b.serial == 0: // the first one
		b.serial = m.Serial
	case ahead > 0:
		b.missing += min(int(ahead)-1, maxMissing)
		b.serial = m.Serial
	default:
		b.missing--
	}
	if b.missing > fewMissing && b.missing > b.taken/missingShare {
		b.missed = now
	}
}

// refusing reports whether the bus refuses calls of a sender, as far as can be told: as many
// wait as it may have, and lately many did not reach us, as their serials tell, which
// libraries just count. Of one that has as many under way by its own choice, or on a bus
// without such a limit, like dbus-broker, none are missing but what it sent to others; nor
// are there ever more on a bus that has it.
func (b *backlog) refusing(now time.Time) bool {
	return b.wanting == busLimit && now.Sub(b.missed) < paceMemory
}

// crowds reports whether more than a few calls of a sender wait.
func (b *backlog) crowds() bool { return b.waiting > fewCalls || b.bytes > fewBytes }

// roomToRest reports whether what waits, of a sender and of all, leaves room to rest.
func (d *dispatcher) roomToRest(b *backlog, now time.Time) bool {
	return d.bytes < d.limit/restRoom && !d.pace.refused(b.sender, now)
}

// holds reports whether a sender has to wait until the rest is over.
func (d *dispatcher) holds(b *backlog, now time.Time) bool {
	return d.pace.resting && !d.stopped && d.roomToRest(b, now) && d.pace.slows(b.sender, now)
}

// strain returns what senders that crowd cost others lately.
func (d *dispatcher) strain() strain {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pace.strain(time.Now())
}

// enqueue lines a sender up for its next turn.
func (d *dispatcher) enqueue(b *backlog, now time.Time) {
	if d.holds(b, now) {
		d.held.push(b)
	} else {
		d.turns.push(b)
	}
}

// rest begins a rest.
func (d *dispatcher) rest() {
	ctx, cancel := context.WithTimeout(context.Background(), maxRest)
	d.pace.resting, d.wake = true, cancel
	began := d.pace.began
	d.wg.Go(func() {
		defer cancel()
		d.settle(ctx)
		select {
		case <-time.After(restShare * time.Since(began)):
		case <-ctx.Done():
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pace.resting, d.pace.began = false, time.Time{}
		d.release()
	})
}

// release gives those their turns who were held.
func (d *dispatcher) release() {
	for !d.held.empty() {
		d.turns.push(d.held.pop())
		d.work.Signal()
	}
}
