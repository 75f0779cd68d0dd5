package dbusapi

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/dbusapi/wire"
)

// While the bus refuses calls of somebody signals wait some time after others, and replies
// do not wait for them.
func TestOutboxSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strained := refusing
		here, there := net.Pipe()
		defer there.Close()
		defer here.Close()
		o := outboxWithSignals(t, 300)
		o.sock, o.strain = here, func() strain { return strained }
		addReplies(t, o, 1, due{})
		ended := make(chan error, 1)
		go func() { ended <- o.run() }()
		got := make([]byte, outboxHigh)
		read := func() (n int, waited time.Duration) {
			start := time.Now()
			n, err := there.Read(got)
			if err != nil {
				t.Fatal(err)
			}
			return n, time.Since(start)
		}
		const some = outboxSignals / 300 * 300
		if n, waited := read(); n != 1+some || waited != 0 {
			t.Errorf("%d bytes go out first, after %v", n, waited)
		}
		for range 3 {
			if n, waited := read(); n != some || waited != outboxSpace {
				t.Errorf("%d bytes of signals go out after %v", n, waited)
			}
			addReplies(t, o, 1, due{})
			if n, waited := read(); n != 1 || waited != 0 {
				t.Errorf("%d bytes go out with a reply, after %v", n, waited)
			}
		}
		strained = uneven
		addReplies(t, o, 1, due{})
		if n, waited := read(); n != 1+some || waited != 0 {
			t.Errorf("%d bytes go out after %v when the bus refuses no more", n, waited)
		}
		if n, waited := read(); n != some || waited != 0 {
			t.Errorf("%d bytes of signals go out then, after %v", n, waited)
		}
		synctest.Wait() // the next round has been taken
		strained = refusing
		addReplies(t, o, 1, due{})
		for _, want := range []int{some, 1} {
			if n, waited := read(); n != want || waited != 0 {
				t.Errorf("%d bytes go out when the bus refuses again, after %v, want %d", n, waited, want)
			}
		}
		for range outboxRounds / 2 { // no longer than paceMemory
			if n, waited := read(); n != some || waited != outboxSpace {
				t.Errorf("%d bytes of signals go out after %v, soon after a reply", n, waited)
			}
		}
		time.Sleep(paceMemory)
		read()
		for range outboxRounds/2 - 1 {
			if n, waited := read(); n != some || waited != 0 {
				t.Errorf("%d bytes of signals go out after %v, when there are no calls any more", n, waited)
			}
		}
		if n, waited := read(); n <= some || waited != 0 {
			t.Errorf("%d bytes of signals go out long after a reply, after %v", n, waited)
		}
		o.close(errOutboxClosed)
		if err := <-ended; !errors.Is(err, errOutboxClosed) {
			t.Error(err)
		}
	})
}

// For the end all signals go out, though the bus refuses calls and replies go on.
func TestOutboxHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		defer here.Close()
		o := outboxWithSignals(t, 300)
		o.sock, o.strain = here, func() strain { return refusing }
		addReplies(t, o, 1, due{})
		ended, replied := make(chan error, 1), make(chan error, 1)
		go func() { ended <- o.run() }()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		go func() {
			for {
				if err := o.addReply("a", due{}, func(e *wire.Encoder) { e.Bytes = append(e.Bytes, 'r') }); err != nil {
					replied <- err
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		}()
		time.Sleep(10 * outboxSpace)
		if o.lastSent() == 0 || o.lastSent() > 100 {
			t.Errorf("%d signals went out before", o.lastSent())
		}
		begin := time.Now()
		o.hurry()
		if err := o.flushSignals(); err != nil {
			t.Error(err)
		}
		if took, n := time.Since(begin), o.lastSent(); took >= outboxSpace || n != uint64(outboxHigh/300-1) {
			t.Errorf("%d signals went out, after %v", n, took)
		}
		o.close(errOutboxClosed)
		if err := <-ended; !errors.Is(err, errOutboxClosed) || !errors.Is(<-replied, errOutboxClosed) {
			t.Error(err)
		}
	})
}

// Signals that are being written are not on the socket.
func TestOutboxFlushSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		o := outboxWithSignals(t, 300)
		o.sock = here
		ended, flushed := make(chan error, 1), make(chan error, 1)
		go func() { ended <- o.run() }()
		synctest.Wait()
		go func() { flushed <- o.flushSignals() }()
		synctest.Wait()
		if len(o.marks) != 0 || len(flushed) != 0 {
			t.Errorf("%d signals wait, %d flushes are over", len(o.marks), len(flushed))
		}
		_ = there.Close()
		if err := <-flushed; err == nil {
			t.Error("the signals are lost, which is not told")
		}
		<-ended
		_ = here.Close()
	})
}

// The kernel keeps few bytes for the bus while replies go out, and more once there were
// none for a while.
func TestOutboxBuffer(t *testing.T) {
	var pair [2]*net.UnixConn
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		pair[i] = c.(*net.UnixConn)
	}
	keeps := func() (size int) {
		raw, err := pair[0].SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }) != nil || err != nil {
			t.Fatal(err)
		}
		return size / 2 // the kernel doubles it, see socket(7)
	}
	o := outboxWithSignals(t, 1000)
	o.sock, o.strain = pair[0], func() strain { return uneven }
	addReplies(t, o, 1, due{})
	ended := make(chan error, 1)
	go func() { ended <- o.run() }()
	eventually(t, "there is little room", func() bool { return keeps() == nearBuffer })
	if _, err := io.CopyN(io.Discard, pair[1], 1+outboxHigh/1000*1000); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is more room", func() bool { return keeps() == farBuffer })
	o.close(errOutboxClosed)
	if err := <-ended; !errors.Is(err, errOutboxClosed) {
		t.Error(err)
	}
}
