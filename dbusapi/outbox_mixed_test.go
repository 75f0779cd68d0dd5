package dbusapi

import (
	"errors"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

// Fewer replies go out together while they go to more than one receiver.
func TestOutboxMixed(t *testing.T) {
	o := newOutbox(nil, time.Hour)
	o.uneven = func() bool { return true }
	reply := func(receiver string) {
		if err := o.addReply(receiver, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'r') }); err != nil {
			t.Fatal(err)
		}
		o.take(nil)
	}
	for _, receiver := range []string{"a", "a", "a"} {
		if reply(receiver); o.parts() != 1 {
			t.Error("one receiver is held short")
		}
	}
	if reply("b"); o.parts() != outboxMixed {
		t.Error("one of two receivers may have as much as if it were alone")
	}
	fill(t, o)
	for range outboxRounds {
		reply("b")
	}
	if o.parts() != 1 {
		t.Error("the last receiver is held short for ever")
	}
}

// fill checks how much goes out in a round while replies go to two receivers.
func fill(t *testing.T, o *outbox) {
	t.Helper()
	const size = 100
	full := errors.New("full")
	add := func(e *wire.Encoder) { e.Bytes = append(e.Bytes, make([]byte, size)...) }
	replies := 0
	for o.addTo("b", func() error { return full }, add) == nil {
		replies += size
	}
	for seq := range uint64(100) {
		if err := o.addSignals(func(e *wire.Encoder) {
			add(e)
			o.mark(e, seq)
		}); err != nil {
			t.Fatal(err)
		}
	}
	round, _ := o.take(nil)
	signals := len(round) - replies
	if want := outboxShare / outboxMixed; replies < want || replies >= want+size {
		t.Errorf("%d bytes of replies to one receiver go out together, want %d", replies, want)
	}
	if want := outboxSignals; signals > want || signals <= want-size {
		t.Errorf("%d bytes of signals go out together, want %d", signals, want)
	}
}

// Few signals go out before the next reply, also while there is one receiver alone, and
// all that wait once there were no replies for a while.
func TestOutboxSignalsNearReply(t *testing.T) {
	const size = 100
	o := outboxWithSignals(t, size)
	o.uneven = func() bool { return true }
	addReplies(t, o, 1)
	for i := range 1 + outboxRounds {
		round, _ := o.take(nil)
		if n := len(round); n > 1<<10+1 || n <= 1<<10-size {
			t.Fatalf("%d bytes go out %d rounds after a reply, want 1 KiB", n, i)
		}
	}
	if round, _ := o.take(nil); len(round) <= outboxSignals {
		t.Errorf("%d bytes of signals go out long after a reply", len(round))
	}
}

// While nobody has to be spared the signals catch up with the replies, however large they are.
func TestOutboxSignalsKeepUp(t *testing.T) {
	for _, size := range []int{100, 2000} {
		o := outboxWithSignals(t, size)
		uneven := false
		o.uneven = func() bool { return uneven }
		signals := func(replies int) int {
			t.Helper()
			addReplies(t, o, replies)
			round, marks := o.take(nil)
			if got := len(round) - replies; got != len(marks)*size {
				t.Errorf("%d bytes of signals, but %d marks", got, len(marks))
			}
			return len(marks)
		}
		few := max(1, outboxSignals/size)
		for _, c := range []struct{ replies, want int }{{1, max(few, 2)}, {0, few}, {30, 60}, {0, few}} {
			if got := signals(c.replies); got != c.want {
				t.Errorf("%d signals of %d bytes go out with %d replies, want %d", got, size, c.replies, c.want)
			}
		}
		uneven = true
		if got := signals(30); got != few {
			t.Errorf("%d signals of %d bytes go out while somebody is to be spared, want %d", got, size, few)
		}
	}
}

// outboxWithSignals returns an outbox in which as many signals of a size wait as may.
func outboxWithSignals(t *testing.T, size int) *outbox {
	t.Helper()
	o := newOutbox(nil, time.Hour)
	for seq := range uint64(outboxHigh / size) {
		if err := o.addSignals(func(e *wire.Encoder) {
			e.Bytes = append(e.Bytes, make([]byte, size)...)
			o.mark(e, seq)
		}); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// addReplies adds replies of a byte each.
func addReplies(t *testing.T, o *outbox, n int) {
	t.Helper()
	for range n {
		if err := o.addReply("a", func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'r') }); err != nil {
			t.Fatal(err)
		}
	}
}
