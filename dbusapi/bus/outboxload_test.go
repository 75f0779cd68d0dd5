package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/osctl/eventd/dbusapi/wire"
)

// After a partial write, lastWritten is the last complete signal.
func TestOutboxPartialWrites(t *testing.T) {
	broken := errors.New("broken")
	for _, replies := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			var ends []int // of the signals in the write
			write := func() (o *outbox, s *fakeSocket, ended <-chan error, b []byte) {
				o, s, ended = startOutbox()
				must(t, addTextReply(o, 1, "x"))
				b = <-s.writes
				for i := range replies {
					must(t, addTextReply(o, uint32(i+2), strings.Repeat("y", i)))
				}
				must(t, o.addSignals(t.Context(), func(signals *Signals) {
					signals.add(wire.BusCall("GetId", ""), 0, nil)
				}))
				for _, seq := range []uint64{7, 9, 10} {
					must(t, addTextSignal(t.Context(), o, seq, strings.Repeat("z", int(seq))))
				}
				s.results <- result{len(b), nil}
				return o, s, ended, <-s.writes
			}
			o, s, ended, b := write()
			for at := 0; at < len(b); {
				header, body, _ := wire.Sizes(b[at:])
				at += header + body
				ends = append(ends, at)
			}
			ends = ends[len(ends)-3:]
			s.results <- result{len(b), nil}
			must(t, o.flush())
			if o.lastWritten() != 10 {
				t.Error("after the whole write the last is", o.lastWritten())
			}
			_ = s.closeOutbox(o, ended)
			for n := range len(b) {
				want := uint64(0)
				for i, seq := range []uint64{7, 9, 10} {
					if n >= ends[i] {
						want = seq
					}
				}
				o, s, ended, _ := write()
				s.results <- result{n, broken}
				if err := <-ended; !errors.Is(err, broken) {
					t.Error("run:", err)
				}
				if got := o.lastWritten(); got != want {
					t.Fatalf("after %d bytes the last written is %d, want %d", n, got, want)
				}
				if err := o.flush(); !errors.Is(err, broken) {
					t.Error("flush:", err)
				}
				if err := addTextReply(o, 1, "x"); !errors.Is(err, broken) {
					t.Error("add:", err)
				}
			}
		})
	}
}

// A message may be larger than all limits. Its memory is freed.
func TestOutboxLargeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s, ended := startOutbox()
		large := strings.Repeat("x", 16*outboxLimit)
		for i := range uint32(3) {
			must(t, addTextReply(o, i+1, large))
			must(t, addTextSignal(t.Context(), o, uint64(i+1), large))
			var got []string
			for len(got) < 2 {
				got = append(got, messagesIn(t, s.take())...)
			}
			if want := []string{fmt.Sprint("R", i+1), fmt.Sprint("S", i+1)}; !slices.Equal(got, want) {
				t.Fatalf("written was %v, want %v", got, want)
			}
			must(t, o.flush())
		}
		if cap(o.replies) > 0 || o.signals.size != 0 || len(o.signals.queue) > 0 {
			t.Errorf("kept are %d bytes of replies, %d of signals", cap(o.replies), o.signals.size)
		}
		_ = s.closeOutbox(o, ended)
	})
}

// With concurrent senders, all messages are written whole, and those of each sender in order.
func TestOutboxStress(t *testing.T) {
	o, s, ended := startOutbox()
	const each = 2000
	var adding sync.WaitGroup
	for n := range uint32(3) {
		adding.Go(func() {
			for i := range uint32(each) {
				if err := addTextReply(o, n*each+i+1, strings.Repeat("x", int(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adding.Go(func() {
		for i := range uint64(each) {
			if err := addTextSignal(t.Context(), o, i+1, strings.Repeat("x", int(i))); err != nil {
				t.Error(err)
			}
		}
	})
	var next [4]uint32
	for got := 0; got < 4*each; {
		for _, id := range messagesIn(t, s.take()) {
			var n, from uint32
			_, _ = fmt.Sscan(id[1:], &n)
			if n--; id[0] == 'R' {
				from = n / each
			} else {
				from = 3
			}
			if n%each != next[from] {
				t.Fatalf("%s came, want number %d", id, next[from])
			}
			next[from]++
			got++
		}
	}
	adding.Wait()
	if err := o.flush(); err != nil || o.lastWritten() != each {
		t.Errorf("the last written is %d, %v", o.lastWritten(), err)
	}
	_ = s.closeOutbox(o, ended)
}
