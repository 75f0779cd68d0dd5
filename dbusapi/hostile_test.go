package dbusapi

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// hostileHeap is how much the heap may grow by an attack, in bytes.
const hostileHeap = 24 << 20

// hostileTarget is a service in this process, and another client that calls it
// during the attacks.
type hostileTarget struct {
	bus     *bustest.Bus
	kind    bustest.Kind
	hub     *hub.Hub
	service *Service
	session *session // the attacked one
	main    string   // unique names of its connections
	callers string
	root    *bustest.Client // another client
	served  atomic.Uint64   // answered rounds of calls of root

	goroutines, fds int
	heap            uint64
}

// hostileStart starts a bus, a service on it, and another client that calls it
// until the test ends.
func hostileStart(t testing.TB, kind bustest.Kind, policies ...string) *hostileTarget {
	t.Helper()
	h := hostileServe(t, kind, policies...)
	h.startWitness(t)
	return h
}

// hostileServe is hostileStart without the other client's calls.
func hostileServe(t testing.TB, kind bustest.Kind, policies ...string) *hostileTarget {
	t.Helper()
	if len(policies) == 0 {
		policies = []string{bustest.PolicyOpen}
	}
	h := &hostileTarget{bus: bustest.Start(t, kind, policies...), kind: kind}
	var err error
	if h.hub, err = hub.New(t.Context(), hub.Config{History: 64}); err != nil {
		t.Fatal(err)
	}
	h.service, err = New(Config{Hub: h.hub, Log: slog.New(slog.DiscardHandler), Address: h.bus.Address(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- h.service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("the service ended:", err)
		}
	})
	select {
	case <-h.service.Ready():
	case <-time.After(apitest.Patience):
		t.Fatal("the service is not ready")
	}
	h.root = h.bus.ClientAs(t, 0)
	h.useSession(t)
	return h
}

// useSession attacks the current session.
func (h *hostileTarget) useSession(t testing.TB) {
	t.Helper()
	hostileUntil(t, "there is a session", func() bool {
		h.session = h.service.current.Load()
		return h.session != nil
	})
	h.main, h.callers = h.session.bus.UniqueName(), h.session.bus.ControlName()
}

// startWitness calls the service as root until the test ends. All calls must be
// answered, also during attacks.
func (h *hostileTarget) startWitness(t testing.TB) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			for _, m := range []*bustest.Message{
				bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "Ping"),
				hostileReport("fine", func(b *bustest.Body) { b.Dict("pool", "tank") }),
				hostileWait("oldest", 10, 0, func(b *bustest.Body) { b.Dict("type", "fine") }),
			} {
				one, done := context.WithTimeout(ctx, apitest.Patience)
				_, err := h.root.Call(one, m)
				done()
				if err != nil && ctx.Err() == nil {
					t.Errorf("another client called %s and got: %v", m.Member, err)
					return
				}
			}
			h.served.Add(1)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// recordUsage records the use of resources before an attack.
func (h *hostileTarget) recordUsage(t testing.TB) {
	t.Helper()
	h.goroutines, h.fds, h.heap = runtime.NumGoroutine(), hostileFDs(t), hostileHeapInUse()
}

// during makes an attack n times, or up to twice as often until the other client is
// served, and waits for that. The number is bounded, because in the bus the other
// client's calls wait behind the attack.
func (h *hostileTarget) during(t *testing.T, n int, attack func()) {
	t.Helper()
	before := h.served.Load()
	served := func() bool { return h.served.Load() > before+1 }
	for i := 0; i < n || i < 2*n && !served(); i++ {
		if t.Failed() {
			return
		}
		attack()
	}
	hostileUntil(t, "the other client is served during the attack", served)
}

// wantUnharmed checks the service after an attack.
func (h *hostileTarget) wantUnharmed(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), apitest.Patience)
	defer cancel()
	reply, err := h.root.CallDriver(ctx, "GetNameOwner", "s", new(bustest.Body).String(wire.Name))
	if err != nil {
		t.Fatal("GetNameOwner:", err)
	}
	if owner, _ := reply.FirstString(); owner != h.main || h.service.current.Load() != h.session {
		t.Errorf("the name is owned by %s, before the attack it was %s", owner, h.main)
	}
	hostileWithin(t, soon, "no wait is counted", func() bool {
		all, users, conns := h.session.waits.count()
		return all == 0 && users == 0 && conns == 0
	})
	hostileUntil(t, "goroutines are as before", func() bool { return runtime.NumGoroutine() <= h.goroutines })
	hostileUntil(t, "file descriptors are as before", func() bool { return hostileFDs(t) <= h.fds })
	hostileUntil(t, "memory is as before", func() bool { return hostileHeapInUse() < h.heap+hostileHeap })
}

// hostileUntil polls until ok returns true.
func hostileUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	hostileWithin(t, apitest.Patience, what, ok)
}

func hostileWithin(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			buf := make([]byte, 1<<20)
			t.Fatalf("timeout: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

func hostileFDs(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func hostileHeapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// hostileConn is a connection of an attacker, which can send any bytes.
type hostileConn struct {
	sock   *net.UnixConn
	in     *bufio.Reader
	name   string
	serial uint32
}

// dial connects an attacker.
func (h *hostileTarget) dial(t *testing.T, options ...bustest.DialOption) *hostileConn {
	t.Helper()
	c := h.dialAs(t, bustest.NobodyUID, options...)
	t.Cleanup(c.close) // if the test fails; otherwise it is closed already
	return c
}

// dialAs is dial as any user. The caller closes the connection.
func (h *hostileTarget) dialAs(t testing.TB, uid uint32, options ...bustest.DialOption) *hostileConn {
	t.Helper()
	c := &hostileConn{sock: h.bus.DialAs(t, uid, options...)}
	if err := c.sock.SetDeadline(time.Now().Add(apitest.Patience)); err != nil {
		t.Fatal(err)
	}
	c.in = bufio.NewReader(c.sock)
	reply, err := c.call(bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName, "Hello"))
	if err != nil {
		t.Fatal("hello:", err)
	}
	c.name, _ = reply.FirstString()
	return c
}

func (c *hostileConn) close() { _ = c.sock.Close() }

// send sends a message with the next serial.
func (c *hostileConn) send(m *bustest.Message) (uint32, error) {
	c.serial++
	one := *m
	if one.Serial == 0 {
		one.Serial = c.serial
	}
	return one.Serial, c.write(one.Marshal())
}

func (c *hostileConn) write(raw []byte, fds ...int) error {
	n := 0
	if len(fds) > 0 {
		var err error
		if n, _, err = c.sock.WriteMsgUnix(raw, unix.UnixRights(fds...), nil); err != nil {
			return err
		}
	}
	_, err := c.sock.Write(raw[n:])
	return err
}

// call sends a message and reads until its reply.
func (c *hostileConn) call(m *bustest.Message) (*bustest.Message, error) {
	serial, err := c.send(m)
	if err != nil {
		return nil, err
	}
	return c.until(serial)
}

// until reads until the reply to a serial.
func (c *hostileConn) until(serial uint32) (*bustest.Message, error) {
	for {
		m, err := bustest.ReadMessage(c.in)
		if err != nil || (m.Type == bustest.TypeReturn || m.Type == bustest.TypeError) && m.ReplySerial == serial {
			return m, err
		}
	}
}

// Outcomes of an attack other than error replies. The outcome of an error is its
// sender, "service" or "bus", and its name without the prefix
// org.osctl.Eventd.Error or org.freedesktop.DBus.Error.
const (
	hostileReply   = "reply"
	hostileSilence = "silence" // no reply
	hostileCut     = "bus cut the connection"
)

// attack sends a message, then a ping, and returns the outcome of the message when
// the ping is answered, because calls are answered in order. The message gets a new
// serial, because the buses refuse the serial of a pending call.
func (c *hostileConn) attack(raw []byte, fds ...int) (outcome string, err error) {
	c.serial++
	serial := c.serial
	switch {
	case binary.LittleEndian.Uint32(raw[8:])>>16 == hostileSerial>>16:
		serial += hostileSerial
		binary.LittleEndian.PutUint32(raw[8:], serial)
	case binary.BigEndian.Uint32(raw[8:])>>16 == hostileSerial>>16:
		serial += hostileSerial
		binary.BigEndian.PutUint32(raw[8:], serial)
	}
	if err := c.write(raw, fds...); err != nil {
		return classifyEnd(err)
	}
	ping, err := c.send(bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "Ping"))
	if err != nil {
		return classifyEnd(err)
	}
	outcome = hostileSilence
	for {
		m, err := bustest.ReadMessage(c.in)
		if err != nil {
			return classifyEnd(err)
		}
		switch {
		case m.Type != bustest.TypeReturn && m.Type != bustest.TypeError:
		case m.ReplySerial == serial:
			outcome = hostileOutcome(m)
		case m.ReplySerial == ping:
			return outcome, nil
		}
	}
}

// classifyEnd returns hostileCut if the bus ended the connection, and otherwise the
// error of a broken test.
func classifyEnd(err error) (string, error) {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) {
		return "", err
	}
	return hostileCut, nil
}
