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
	return o.add(func(e *wire.Encoder) {
		e.Bytes = append(e.Bytes, text...)
		if seq != 0 {
			o.mark(e, seq)
		}
	})
}

// startOutbox runs an outbox on one end of a pipe and returns the other end. What
// run returned comes through the channel.
func startOutbox(t *testing.T, timeout time.Duration) (*outbox, net.Conn, <-chan error) {
	t.Helper()
	here, there := net.Pipe()
	o := newOutbox(here, timeout)
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
	o, there, _ := startOutbox(t, time.Hour)
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
		o, there, ended := startOutbox(t, 100*time.Millisecond)
		o.mu.Lock() // so that all goes out with one write
		o.buf = append(o.buf, strings.Repeat("x", 30)...)
		o.marks = []mark{{10, 7}, {25, 9}, {30, 10}}
		o.change.Broadcast()
		o.mu.Unlock()
		if _, err := io.ReadFull(there, make([]byte, test.take)); err != nil {
			t.Fatal(err)
		}
		if err := await(t, "the write times out", ended); !errors.Is(err, os.ErrDeadlineExceeded) {
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
		full := o.busy && len(o.buf) >= outboxHigh
		o.mu.Unlock()
		if !full {
			_ = addText(o, strings.Repeat("x", outboxHigh), 0)
		}
		return full
	})
}

func TestOutboxFull(t *testing.T) {
	o, there, _ := startOutbox(t, time.Hour)
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
	if size := len(o.buf); size >= 2*outboxHigh {
		t.Errorf("%d bytes wait", size)
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
	o, there, ended := startOutbox(t, time.Hour)
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
