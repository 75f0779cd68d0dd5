package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

// fakeSocket passes each write to the test, which decides its result.
type fakeSocket struct {
	serial  atomic.Uint32
	writes  chan []byte
	results chan result
}

type result struct {
	n   int
	err error
}

// Write waits for the test.
func (s *fakeSocket) Write(b []byte, _ time.Duration) (int, error) {
	s.writes <- slices.Clone(b)
	r := <-s.results
	return r.n, r.err
}

// NextSerial counts.
func (s *fakeSocket) NextSerial() uint32 { return s.serial.Add(1) }

// take accepts a whole write.
func (s *fakeSocket) take() []byte {
	b := <-s.writes
	s.results <- result{len(b), nil}
	return b
}

// startOutbox returns a running outbox; the channel gets the result of run.
func startOutbox() (*outbox, *fakeSocket, <-chan error) {
	s := &fakeSocket{writes: make(chan []byte), results: make(chan result)}
	o := newOutbox(s, time.Hour)
	ended := make(chan error, 1)
	go func() { ended <- o.run() }()
	return o, s, ended
}

// addTextReply adds a reply with a text as body.
func addTextReply(o *outbox, serial uint32, text string) error {
	h := &wire.Header{Type: wire.TypeReply, Serial: serial, ReplySerial: serial, Signature: "s"}
	return o.addReply(h, func(e *wire.Encoder) { e.String(text) })
}

// addTextSignal adds a signal for an event, with a text as body.
func addTextSignal(ctx context.Context, o *outbox, seq uint64, text string) error {
	return o.addSignals(ctx, func(s *Signals) {
		h := &wire.Header{Path: "/", Interface: "a.b", Member: fmt.Sprint("S", seq), Signature: "s"}
		s.Add(h, seq, func(e *wire.Encoder) { e.String(text) })
	})
}

// messagesIn returns the messages in b: replies by their serial, signals by their member.
func messagesIn(t *testing.T, b []byte) (ids []string) {
	t.Helper()
	for len(b) > 0 {
		header, body, err := wire.Sizes(b)
		if err != nil || header+body > len(b) {
			t.Fatalf("%d bytes hold no whole message: %v", len(b), err)
		}
		h, err := wire.ParseHeader(b[:header])
		if err != nil {
			t.Fatal(err)
		}
		d := wire.NewDecoder(string(b[header:header+body]), false)
		if _ = d.String(); d.Finish() != nil {
			t.Fatal("the body is incomplete:", d.Err())
		}
		if h.Type == wire.TypeReply {
			ids = append(ids, fmt.Sprint("R", h.Serial))
		} else {
			ids = append(ids, h.Member)
		}
		b = b[header+body:]
	}
	return ids
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// closeOutbox closes an outbox, and fails its further writes.
func (s *fakeSocket) closeOutbox(o *outbox, ended <-chan error) error {
	o.close(wire.ErrClosed)
	for {
		select {
		case <-s.writes:
			s.results <- result{0, wire.ErrClosed}
		case err := <-ended:
			return err
		}
	}
}

// Each write has all queued replies, in order, before any signal.
func TestOutboxRepliesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s, ended := startOutbox()
		must(t, addTextSignal(t.Context(), o, 1, "x"))
		first := <-s.writes
		for i := range uint32(3) {
			must(t, addTextSignal(t.Context(), o, uint64(i+2), "x"))
			must(t, addTextReply(o, i+1, "x"))
		}
		s.results <- result{len(first), nil}
		if got, want := messagesIn(t, s.take()), []string{"R1", "R2", "R3", "S2", "S3", "S4"}; !slices.Equal(got, want) {
			t.Errorf("written was %v, want %v", got, want)
		}
		must(t, o.flush())
		if o.lastWritten() != 4 {
			t.Error("the last written is", o.lastWritten())
		}
		if err := s.closeOutbox(o, ended); !errors.Is(err, wire.ErrClosed) {
			t.Error("run:", err)
		}
	})
}

// Signals do not starve during an endless stream of replies, and replies wait only for a share of the
// signals.
func TestOutboxShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s, ended := startOutbox()
		must(t, addTextReply(o, 1, "x"))
		synctest.Wait()
		const signals, size = 100, 2000
		for i := range uint64(signals) {
			must(t, addTextSignal(t.Context(), o, i+1, strings.Repeat("x", size)))
		}
		next := uint32(2)
		var got []string
		for writes := 0; len(got) < signals; writes++ {
			b := <-s.writes
			must(t, addTextReply(o, next, "x"))
			next++
			s.results <- result{len(b), nil}
			if writes == 0 {
				continue // started before the signals
			}
			ids := messagesIn(t, b)
			n := len(ids) - len(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id[0] == 'R' }))
			if n == 0 || slices.ContainsFunc(ids[:n], func(id string) bool { return id[0] != 'R' }) {
				t.Fatalf("write %d: %v", writes, ids)
			}
			ids = ids[n:]
			if len(ids) == 0 || len(ids) > 1+signalShare/size {
				t.Fatalf("write %d has %d signals", writes, len(ids))
			}
			got = append(got, ids...)
			if want := fmt.Sprint("S", len(got)); got[len(got)-1] != want || o.lastWritten() > uint64(len(got)) {
				t.Fatalf("the last is %s, want %s", got[len(got)-1], want)
			}
		}
		_ = s.closeOutbox(o, ended)
	})
}

// A sender to a full outbox waits for room, for its context, or for the end of the outbox. Replies and
// signals have separate limits.
func TestOutboxBounds(t *testing.T) {
	for _, end := range []string{"room", "context", "close"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, s, ended := startOutbox()
				must(t, addTextReply(o, 1, "x"))
				first := <-s.writes
				text := strings.Repeat("x", 10_000)
				var signals uint64
				for o.signals.size < outboxLimit {
					signals++
					must(t, addTextSignal(t.Context(), o, signals, text))
				}
				if o.signals.size > outboxLimit+len(text)+200 {
					t.Errorf("%d bytes of signals wait", o.signals.size)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				added := make(chan error, 2)
				go func() { added <- addTextSignal(ctx, o, signals+1, "late") }()
				synctest.Wait()
				serial := uint32(1)
				for len(o.replies) < repliesLimit {
					serial++
					must(t, addTextReply(o, serial, text))
				}
				if len(o.replies) > repliesLimit+len(text)+200 {
					t.Errorf("%d bytes of replies wait", len(o.replies))
				}
				go func() { added <- addTextReply(o, serial+1, "late") }()
				synctest.Wait()
				select {
				case err := <-added:
					t.Fatal("an addition to a full queue did not wait:", err)
				default:
				}
				stop := errors.New("stop")
				switch end {
				case "room":
					s.results <- result{len(first), nil}
					for o.lastWritten() <= signals {
						if s.take(); len(ended) > 0 {
							t.Fatal(<-ended)
						}
						synctest.Wait()
					}
					must(t, <-added)
					must(t, <-added)
				case "context":
					cancel()
					if err := <-added; !errors.Is(err, context.Canceled) {
						t.Error("signals:", err)
					}
					if err := addTextSignal(ctx, o, 0, "x"); !errors.Is(err, context.Canceled) {
						t.Error("signals with a context that is done:", err)
					}
					if len(added) != 0 {
						t.Error("the context of signals ended the wait of a reply")
					}
				case "close":
					flushed := make(chan error, 1)
					go func() { flushed <- o.flush() }()
					synctest.Wait()
					o.close(stop)
					o.close(errors.New("another reason"))
					for _, err := range []error{<-added, <-added, <-flushed, addTextReply(o, 1, "x"), addTextSignal(ctx, o, 1, "x")} {
						if !errors.Is(err, stop) {
							t.Error("after the end:", err)
						}
					}
				}
				if end != "room" {
					s.results <- result{len(first), nil}
				}
				if err := s.closeOutbox(o, ended); end == "close" && !errors.Is(err, stop) {
					t.Error("run:", err)
				}
			})
		})
	}
}

// flush returns only when the socket has taken all messages.
func TestOutboxFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s, ended := startOutbox()
		must(t, o.flush())
		must(t, addTextReply(o, 1, "x"))
		flushed := make(chan error, 1)
		go func() { flushed <- o.flush() }()
		b := <-s.writes
		synctest.Wait()
		if len(flushed) > 0 {
			t.Error("flush did not wait for the running write")
		}
		s.results <- result{len(b), nil}
		must(t, <-flushed)
		_ = s.closeOutbox(o, ended)
	})
}
