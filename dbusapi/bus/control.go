package bus

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	// maxPeers is the size of the cache of peers. A system bus has fewer connections
	// (max_completed_connections, 2,048 by default). A new peer replaces the one that left the bus
	// longest ago. While all are present, further peers are not kept, but identified again.
	maxPeers = 4096

	// maxCredentials is the size of the largest reply of the bus that is read, in bytes. The
	// largest list of groups that the kernel allows, 65,536, takes a quarter of it.
	maxCredentials = 1 << 20

	// questionTimeout bounds the identification of a peer.
	questionTimeout = 5 * time.Second
)

// control is the second connection, for questions to the bus itself: the identity of a peer, peers
// that left, and whether the bus is alive. On the service connection a reply of the bus would wait
// behind all unread calls.
//
// The connection uses godbus. But a message with an array of file descriptors crashes godbus 5.2.4,
// and deeply nested variants end its connection. So this type filters the messages for godbus: it
// negotiates no file descriptors, and passes only replies of the bus itself.
type control struct {
	wire          *wire.Conn
	bus           *dbus.Conn
	authenticated atomic.Bool // messages follow
	unread        []byte      // rest of a message for godbus; only Read uses it
	questions     sync.WaitGroup
	reading       sync.Mutex // held while godbus is in Read

	mu      sync.Mutex
	peers   map[string]*peerEntry
	leavers fifo[string] // names of peers that left the bus, the first one in front
}

// peerEntry is a peer that is identified, or being identified.
type peerEntry struct {
	peer     *Peer
	answered bool // the peer is identified, or had left; otherwise the next call asks again
	left     context.CancelFunc
}

// dialControl connects, and subscribes to the names that leave the bus.
func dialControl(ctx context.Context, address string) (*control, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sock, err := wire.DialSocket(ctx, address)
	if err != nil {
		return nil, err
	}
	k := &control{wire: wire.NewConn(sock), peers: map[string]*peerEntry{}}
	stop := context.AfterFunc(ctx, func() { k.wire.Interrupt(ctx.Err()) })
	defer stop()
	if err := k.handshake(ctx); err != nil {
		if reason := k.wire.Err(); reason != nil {
			err = reason
		}
		k.close()
		return nil, wire.DialError(address, err)
	}
	return k, nil
}

func (k *control) handshake(ctx context.Context) (err error) {
	if k.bus, err = dbus.NewConn((*transport)(k)); err != nil {
		return err
	}
	if err := k.bus.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return err
	}
	if err := k.bus.Hello(); err != nil {
		return err
	}
	rule := "type='signal',sender='" + wire.BusName + "',interface='" + wire.BusInterface + "',member='NameOwnerChanged',arg2=''"
	return k.bus.BusObject().CallWithContext(ctx, wire.BusInterface+".AddMatch", 0, rule).Err
}

// recall returns an identified peer, nil if the name is unknown.
func (k *control) recall(name string) *Peer {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.peers[name]; e != nil && e.answered {
		return e.peer
	}
	return nil
}

// identify identifies a peer and calls done once. If the bus does not know the peer, Known is false.
// Only one identification of a name may run at a time.
func (k *control) identify(name string, done func(*Peer)) {
	e := k.remember(name)
	k.questions.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), questionTimeout)
		defer cancel()
		err := identify(e.peer, func() (map[string]dbus.Variant, error) { return k.credentials(ctx, name) }, inspectProcess)
		var failed dbus.Error
		gone := errors.As(err, &failed) && failed.Name == wire.ErrNameHasNoOwner
		if gone {
			k.markLeft(name)
			e.left() // also if it is not kept
		}
		k.mu.Lock()
		e.answered = err == nil || gone
		k.mu.Unlock()
		done(e.peer)
	})
}

func (k *control) credentials(ctx context.Context, name string) (map[string]dbus.Variant, error) {
	var credentials map[string]dbus.Variant
	err := k.bus.BusObject().CallWithContext(ctx, wire.BusInterface+".GetConnectionCredentials", 0, name).Store(&credentials)
	return credentials, err
}

// remember returns a new entry of a peer. It is called before the question to the bus, so that a peer that
// leaves meanwhile is noticed.
func (k *control) remember(name string) *peerEntry {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &peerEntry{peer: &Peer{Name: name}}
	if old := k.peers[name]; old != nil {
		e.peer.Left, e.left = old.peer.Left, old.left
		k.peers[name] = e
		return e
	}
	e.peer.Left, e.left = context.WithCancel(context.Background())
	if len(k.peers) >= maxPeers && !k.leavers.empty() {
		delete(k.peers, k.leavers.pop())
	}
	if len(k.peers) < maxPeers {
		k.peers[name] = e
	}
	return e
}

// markLeft records that a peer has left the bus. Its entry stays, because its calls may still be
// unread; the bus does not reuse the name.
func (k *control) markLeft(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.peers[name]; e != nil && e.peer.Left.Err() == nil {
		e.left()
		k.leavers.push(e.peer.Name) // name shares memory with a message
	}
}

// ping checks that the bus answers. It calls GetId, because the policy of Debian denies Peer.Ping.
func (k *control) ping(ctx context.Context) error {
	return k.bus.BusObject().CallWithContext(ctx, wire.BusInterface+".GetId", 0).Err
}

// close ends the connection and waits for all its goroutines.
func (k *control) close() {
	k.wire.Interrupt(wire.ErrClosed)
	if k.bus != nil {
		_ = k.bus.Close()
	}
	k.questions.Wait()
	k.reading.Lock() // waits for Read, which was interrupted
	defer k.reading.Unlock()
	_ = k.wire.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.peers {
		e.left()
	}
}

// transport is the stream of a control for godbus.
type transport control

// Read reads replies of the bus. One goroutine of godbus calls it.
func (t *transport) Read(p []byte) (int, error) {
	k := (*control)(t)
	k.reading.Lock()
	defer k.reading.Unlock()
	if !k.authenticated.Load() {
		return k.wire.Raw().Read(p)
	}
	for len(k.unread) == 0 {
		m, err := k.wire.Read(admitFromBus)
		if err != nil {
			k.wire.Interrupt(err)
			return 0, err
		}
		if m.Refused == nil {
			k.receive(m)
		}
	}
	n := copy(p, k.unread)
	k.unread = k.unread[n:]
	return n, nil
}

// admitFromBus admits messages of the bus itself, of bounded size.
func admitFromBus(m *wire.Message) error {
	if m.Sender == wire.BusName && m.BodySize <= maxCredentials {
		return nil
	}
	return errUnwanted
}

func (k *control) receive(m *wire.Message) {
	switch {
	case m.Type == wire.TypeReply, m.Type == wire.TypeError:
		k.unread = m.Frame()
	case m.Member == "NameOwnerChanged":
		d := m.Decoder()
		if name := d.String(); d.Err() == nil {
			k.markLeft(name)
		}
	}
}

// Write writes lines of the authentication, then whole messages of godbus.
func (t *transport) Write(p []byte) (int, error) {
	k := (*control)(t)
	if string(p) == "BEGIN\r\n" {
		defer k.authenticated.Store(true)
	}
	n, err := k.wire.Write(p, writeTimeout)
	if err != nil {
		k.wire.Interrupt(err)
	}
	return n, err
}

// Close interrupts the connection; control.close closes the socket.
func (t *transport) Close() error {
	(*control)(t).wire.Interrupt(errors.New("godbus closed the connection"))
	return nil
}
