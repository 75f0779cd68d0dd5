package dbusapi

import "time"

// What goes out in one round of an outbox.
const (
	// outboxShare is how many bytes of replies to one receiver go out together, with what
	// outboxDue adds: who would add more waits for the next round.
	outboxShare = 4 << 10

	// outboxSignals is how many bytes of signals go out together with replies, or soon
	// after one; but see outboxEven. One signal goes in any case. It is less than the
	// 2 KiB that a dbus-daemon reads of us at a time before it looks after others: a reply
	// that comes just after them does not wait for the next time, nor do calls wait for
	// all that the signals give it to do.
	outboxSignals = 1 << 10

	// outboxEven is how many signals may go out for each that the replies are due, as long
	// as nobody has to be spared, see strain: so the signals keep up with the replies,
	// or catch up, and who waits for replies does not report faster than the signals go out.
	outboxEven = 2

	// outboxEvenBytes is how many bytes of signals these may be: what is due with the share
	// of one receiver. Of larger events a round has one reply, and its signal. With more, who
	// calls now and then waited longer, and the reports were not faster.
	outboxEvenBytes = 32 << 10

	// outboxDue is how many bytes of signals that are due take as much of a share as one
	// of the reply itself, while they go out with it.
	outboxDue = 4

	// maxDue is how many bytes the signals of a batch may have to be due: larger batches
	// would be as slow as signals are, and are for who wants to be faster.
	maxDue = outboxDue * outboxShare

	// outboxMixed is by how much a share is smaller while replies go to more than
	// one receiver: what goes out stands before the next reply, and the bus takes its
	// time for it.
	outboxMixed = 4

	// outboxSpace is how long signals wait after others while the bus refuses calls of one that
	// crowds, and others are at work. The bus is busy all the time then, whether the flood is
	// answered at once or late; only fewer signals leave it time for the others. A call of
	// another reporter took 6.9 times as long as without the flood with as many signals as go
	// beside the replies, and 4.3 to 6.0 times with signals so far apart, as does one that the
	// bus itself answers (BenchmarkFairness).
	outboxSpace = 3 * time.Millisecond

	// outboxRounds is how many rounds without a reply are soon after one, and how many
	// without another receiver soon after another one.
	outboxRounds = 64
)

// due is what the events of a call make go out: so many signals, of about so many bytes.
type due struct{ signals, bytes int }

// signalOverhead is about what a signal has beside the options of its event, in bytes.
const signalOverhead = 256

// dueFor returns what n events are due that came in a body of so many bytes.
func dueFor(n, body int) due {
	d := due{n, body + n*signalOverhead}
	if n > 1 && d.bytes > maxDue {
		return due{}
	}
	return d
}

// parts is into how many parts a share is cut, one for each round.
func (o *outbox) parts() int {
	if o.mixed > 0 {
		return outboxMixed
	}
	return 1
}

// take returns what goes out next, and the marks in it.
func (o *outbox) take(marks []mark) ([]byte, []mark) {
	buf, limit, least := o.replies, outboxSignals, 0
	switch {
	case o.hurried:
		o.near, limit = 0, outboxHigh
	case len(buf) > 0:
		o.near, o.replied = outboxRounds, time.Now()
		o.sparing = uneven
		if o.strain != nil {
			o.sparing = o.strain()
		}
		if o.sparing == unstrained {
			least = outboxEven * o.due
		}
	case o.near > 0:
		o.near--
	default:
		limit = outboxHigh
	}
	o.mixed = max(0, o.mixed-1)
	o.replies = o.spare
	o.spare, o.due = nil, 0
	clear(o.shares)
	start, n := len(buf), 0
	for _, m := range o.signalsDue() {
		if size := m.end - o.head; n > 0 && size > limit && (n >= least || size > outboxEvenBytes) {
			break
		}
		marks = append(marks, mark{end: start + m.end - o.head, seq: m.seq})
		n++
	}
	if n > 0 {
		o.signaled = time.Now()
		end := o.marks[n-1].end
		buf = append(buf, o.signals[o.head:end]...)
		o.head, o.marks = end, o.marks[:copy(o.marks, o.marks[n:])]
		if len(o.marks) == 0 {
			if o.signals, o.head = o.signals[:0], 0; cap(o.signals) > 4*outboxHigh {
				o.signals = nil
			}
		}
	}
	return buf, marks
}

// signalsDue returns the signals that need not wait any more.
func (o *outbox) signalsDue() []mark {
	if o.hurried || o.near == 0 || o.sparing != refusing || len(o.marks) == 0 {
		return o.marks
	}
	now := time.Now()
	left := outboxSpace - now.Sub(o.signaled)
	if left <= 0 || now.Sub(o.replied) >= paceMemory {
		return o.marks
	}
	if o.alarm != nil {
		o.alarm.Reset(left)
	}
	return nil
}
