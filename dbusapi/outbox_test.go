package dbusapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

// addText adds a message that is text, as the signal of event seq if that is not 0.
func addText(o *outbox, text string, seq uint64) error {
	if seq == 0 {
		return o.add(func(e *wire.Encoder) { e.Bytes = append(e.Bytes, text...) })
	}
	return o.addSignals(func(e *wire.Encoder) {
		e.Bytes = append(e.Bytes, text...)
		o.mark(e, seq)
	})
}

// startOutbox runs an outbox on one end of a pipe and returns the other end. What
// run returned comes through the channel.
func startOutbox(t *testing.T) (*outbox, net.Conn, <-chan error) {
	t.Helper()
	here, there := net.Pipe()
	o := newOutbox(here, time.Hour)
	ended := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ended <- o.run()
	}()
	t.Cleanup(func() {
		o.close(errOutboxClosed)
		_ = here.Close()
		_ = there.Close()
		<-gone
	})
	return o, there, ended
}

func TestOutboxOrder(t *testing.T) {
	o, there, _ := startOutbox(t)
	var want strings.Builder
	for i := range 100 {
		text := strings.Repeat(string(rune('a'+i%26)), i)
		want.WriteString(text)
		if err := addText(o, text, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(there, got); err != nil || string(got) != want.String() {
		t.Fatalf("written was %q, %v", got, err)
	}
	if err := o.flush(); err != nil || o.lastSent() != 100 {
		t.Errorf("after all: %d, %v", o.lastSent(), err)
	}
}

// Of what a socket took before it took no more, the last whole signal counts.
func TestOutboxPartialWrites(t *testing.T) {
	for _, test := range []struct {
		take int
		want uint64
	}{{0, 0}, {9, 0}, {10, 7}, {11, 7}, {24, 7}, {25, 9}, {29, 9}} {
		o, there, ended := startOutbox(t)
		o.mu.Lock() // so that all goes out with one write
		o.signals = append(o.signals, strings.Repeat("x", 30)...)
		o.marks = []mark{{10, 7}, {25, 9}, {30, 10}}
		o.change.Broadcast()
		o.mu.Unlock()
		if _, err := io.ReadFull(there, make([]byte, test.take)); err != nil {
			t.Fatal(err)
		}
		var err error
		eventually(t, "the write times out", func() bool {
			_ = o.sock.SetWriteDeadline(time.Unix(1, 0)) // the hour is over, also of a write that begins now
			select {
			case err = <-ended:
				return true
			default:
				return false
			}
		})
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("run:", err)
		}
		if got := o.lastSent(); got != test.want {
			t.Errorf("after %d bytes the last sent is %d, want %d", test.take, got, test.want)
		}
		if err := o.flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("flush:", err)
		}
		if err := addText(o, "x", 0); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("add:", err)
		}
	}
}

// fillUp adds until there is no room.
func fillUp(t *testing.T, o *outbox) {
	t.Helper()
	eventually(t, "it is full", func() bool {
		o.mu.Lock()
		replies, signals := len(o.replies), len(o.signals)-o.head
		full := o.busy && replies >= outboxHigh && signals >= outboxHigh
		o.mu.Unlock()
		if replies < outboxHigh {
			_ = addText(o, strings.Repeat("x", outboxHigh), 0)
		}
		if signals < outboxHigh {
			_ = addText(o, strings.Repeat("x", outboxHigh), 1)
		}
		return full
	})
}

func TestOutboxFull(t *testing.T) {
	o, there, _ := startOutbox(t)
	fillUp(t, o)
	added := make(chan error, 1)
	go func() { added <- addText(o, "late", 5) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := o.addWithin(ctx, func(*wire.Encoder) { t.Error("added although it is full") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("addWithin:", err)
	}
	select {
	case err := <-added:
		t.Fatal("add did not wait:", err)
	default:
	}
	o.mu.Lock()
	if len(o.replies) >= 2*outboxHigh || len(o.signals)-o.head >= 2*outboxHigh {
		t.Errorf("%d and %d bytes wait", len(o.replies), len(o.signals)-o.head)
	}
	o.mu.Unlock()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, there)
	}()
	if err := await(t, "there is room", added); err != nil {
		t.Fatal(err)
	}
	if err := o.flush(); err != nil || o.lastSent() != 5 {
		t.Errorf("after all: %d, %v", o.lastSent(), err)
	}
	_ = there.Close()
	await(t, "the reader ends", read)
}

func TestOutboxClose(t *testing.T) {
	o, there, ended := startOutbox(t)
	fillUp(t, o)
	stop := errors.New("stop")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := addText(o, "x", 1); !errors.Is(err, stop) {
				t.Error("add:", err)
			}
		})
	}
	wg.Go(func() {
		if err := o.flush(); !errors.Is(err, stop) {
			t.Error("flush:", err)
		}
	})
	o.close(stop)
	o.close(errOutboxClosed)
	wg.Wait()
	_ = there.Close() // ends the write under way
	if err := await(t, "run ends", ended); !errors.Is(err, stop) {
		t.Error("run:", err)
	}
	if o.lastSent() != 0 {
		t.Error("sent was", o.lastSent())
	}
}

// A deadline that ends the connection stays, even where a write begins just then.
func TestOutboxWriteAfterClose(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	defer here.Close()
	o := newOutbox(here, 10*patience)
	o.close(errOutboxClosed)
	_ = here.SetDeadline(time.Unix(1, 0))
	result := make(chan error, 1)
	go func() {
		_, err := o.write([]byte("x"))
		result <- err
	}()
	if err := await(t, "write returns", result); !errors.Is(err, errOutboxClosed) {
		t.Error("write:", err)
	}
}

// Replies to one receiver go out a share at a time, and signals beside them, so that a
// reply to another stands behind little; all keep their order.
func TestOutboxShares(t *testing.T) {
	o, there, _ := startOutbox(t)
	o.mu.Lock()
	o.strain = func() strain { return uneven }
	o.mu.Unlock()
	text := strings.Repeat("f", 1000)
	flooding := make(chan error, 1)
	for i := range 100 {
		if err := addText(o, strings.Repeat("s", 1000), uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for range 100 {
			if err := o.addReply("flood", due{}, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, text...) }); err != nil {
				flooding <- err
				return
			}
		}
		flooding <- nil
	}()
	eventually(t, "the flood waits for its share", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.busy && o.shares["flood"] >= outboxShare
	})
	if err := o.addReply("other", due{}, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'o') }); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 200_001)
	if _, err := io.ReadFull(there, got); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "the flood ends", flooding); err != nil {
		t.Fatal(err)
	}
	// What was in hand when the other came: all signals, if no reply had been sent yet.
	at, first := strings.IndexByte(string(got), 'o'), strings.IndexByte(string(got), 'f')
	if ahead := at - first; ahead < 0 || ahead > 2*(outboxShare+outboxSignals)+2000 {
		t.Errorf("%d bytes went out from the first reply to a flood to that to another", ahead)
	}
	if err := o.flush(); err != nil || o.lastSent() != 100 {
		t.Errorf("the last sent is %d, %v", o.lastSent(), err)
	}
}

// A large reply, and many large signals, do not keep their memory.
func TestOutboxGivesBack(t *testing.T) {
	o, there, _ := startOutbox(t)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, there)
	}()
	large := strings.Repeat("x", 16*outboxHigh)
	for round := range 3 {
		if err := errors.Join(addText(o, large, 0), addText(o, large, uint64(round+1)), o.flush(), addText(o, "x", 0), o.flush()); err != nil {
			t.Fatal(err)
		}
		o.mu.Lock()
		if kept := cap(o.replies) + cap(o.signals) + cap(o.spare); kept > 12*outboxHigh {
			t.Errorf("%d bytes are kept", kept)
		}
		o.mu.Unlock()
	}
	_ = there.Close()
	await(t, "the reader ends", read)
}
