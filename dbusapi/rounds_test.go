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
	o.strain = func() strain { return uneven }
	reply := func(receiver string) {
		if err := o.addReply(receiver, due{}, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'r') }); err != nil {
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
	for o.addTo("b", due{}, func() error { return full }, add) == nil {
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
	o.strain = func() strain { return uneven }
	addReplies(t, o, 1, due{})
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

// While nobody has to be spared the signals catch up with the replies, as far as they are not large.
func TestOutboxSignalsKeepUp(t *testing.T) {
	for _, test := range []struct {
		size, replies int
		due           due
		want, spared  int // signals that go out
	}{
		{size: 100, replies: 1, due: due{1, 100}, want: 10, spared: 10},
		{size: 100, replies: 30, due: due{1, 100}, want: 60, spared: 10},
		{size: 100, replies: 30, due: due{0, 0}, want: 10, spared: 10},
		{size: 100, replies: 1, due: due{300, 30000}, want: outboxEvenBytes / 100, spared: 10},
		{size: 2000, replies: 0, want: 1, spared: 1},
		{size: 2000, replies: 1, due: due{1, 2000}, want: 2, spared: 1},
		{size: 2000, replies: 3, due: due{1, 2000}, want: 6, spared: 1},
		{size: 2000, replies: 1, due: due{100, 30000}, want: outboxEvenBytes / 2000, spared: 1},
		{size: 60000, replies: 1, due: due{1, 60000}, want: 1, spared: 1},
	} {
		for _, strained := range []strain{unstrained, uneven, refusing} {
			o := outboxWithSignals(t, test.size)
			o.strain = func() strain { return strained }
			if err := o.add(func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'm') }); err != nil {
				t.Fatal(err)
			}
			addReplies(t, o, test.replies, test.due)
			round, marks := o.take(nil)
			if got := len(round) - 1 - test.replies; got != len(marks)*test.size {
				t.Errorf("%d bytes of signals, but %d marks", got, len(marks))
			}
			want := test.want
			if strained != unstrained {
				want = test.spared
			}
			if len(marks) != want {
				t.Errorf("%+v, strain %d: %d signals go out, want %d", test, strained, len(marks), want)
			}
			o.sparing = min(o.sparing, uneven) // or they wait, see TestOutboxSpace
			if _, marks = o.take(nil); len(marks) != max(1, outboxSignals/test.size) {
				t.Errorf("%+v, strain %d: %d signals go out after that", test, strained, len(marks))
			}
		}
	}
}

// All reports are due, however large; of batches only small ones.
func TestDueFor(t *testing.T) {
	for _, test := range []struct{ n, body, signals int }{
		{0, 8, 0},
		{1, 100, 1},
		{1, 64 << 10, 1},
		{40, 40 * 100, 40},
		{2, maxDue - 2*signalOverhead, 2},
		{2, maxDue - 2*signalOverhead + 1, 0},
		{1000, 1000 * 100, 0},
	} {
		got := dueFor(test.n, test.body)
		if got.signals != test.signals || test.signals > 0 && got.bytes <= test.body {
			t.Errorf("of %d events in %d bytes %+v is due, want %d signals", test.n, test.body, got, test.signals)
		}
	}
}

// Replies that many bytes of signals are due with wait for the next round.
func TestOutboxDue(t *testing.T) {
	o := newOutbox(nil, time.Hour)
	strained := unstrained
	o.strain = func() strain { return strained }
	full := errors.New("full")
	for _, test := range []struct {
		bytes  int
		strain strain
		want   int
	}{
		{0, unstrained, outboxShare},
		{1000 * outboxDue, unstrained, 5},
		{60000, unstrained, 1},
		{60000, refusing, outboxShare},
		{60000, uneven, outboxShare}, // the signals do not go out with them
	} {
		strained = test.strain
		addReplies(t, o, 1, due{})
		o.take(nil) // and learns whether somebody is to be spared
		replies := 0
		for o.addTo("a", due{1, test.bytes}, func() error { return full }, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'r') }) == nil {
			replies++
		}
		o.take(nil)
		if replies != test.want {
			t.Errorf("%+v: %d replies go out together", test, replies)
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
func addReplies(t *testing.T, o *outbox, n int, each due) {
	t.Helper()
	for range n {
		if err := o.addReply("a", each, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'r') }); err != nil {
			t.Fatal(err)
		}
	}
}
