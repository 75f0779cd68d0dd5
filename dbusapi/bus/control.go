package bus

import (
	"container/list"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	// maxPeers is how many peers are remembered: more than a system bus has connections
	// (max_completed_connections, 2,048 by default). Peers that left are forgotten first.
	maxPeers = 4096

	// maxCredentials is the largest reply of the bus that is read, in bytes: 65,536 groups,
	// which is all that the kernel lets a process have, take a quarter of it.
	maxCredentials = 1 << 20

	// questionTimeout bounds asking the bus who a peer is.
	questionTimeout = 5 * time.Second
)

// control is the second connection, over which we talk with the bus: who a peer is, who has
// left, whether the bus is alive. On the first one an answer would stand behind all the calls
// that wait there.
//
// The talk is godbus's. But a message with an array of file descriptors crashes godbus 5.2.4,
// and deeply nested variants end its connection. So godbus sits behind this type, which
// negotiates no file descriptors, and hands on nothing but replies of the bus itself.
type control struct {
	wire    *wire.Conn
	bus     *dbus.Conn
	begun   atomic.Bool // authentication is over, messages follow
	rest    []byte      // of a message that godbus has not taken yet; the reader's alone
	asking  sync.WaitGroup
	reading sync.Mutex // held while godbus is in Read

	mu    sync.Mutex
	peers map[string]*list.Element
	byUse *list.List // of *peerEntry, the last used in front
}

// peerEntry is a peer that is known, or being asked for.
type peerEntry struct {
	peer  *Peer
	ready bool // the bus answered; if it did not, it is asked again at the next call
	left  context.CancelFunc
}

// dialControl connects, and asks to be told who leaves the bus.
func dialControl(ctx context.Context, address string) (*control, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sock, err := wire.DialSocket(ctx, address)
	if err != nil {
		return nil, err
	}
	k := &control{wire: wire.NewConn(sock), peers: map[string]*list.Element{}, byUse: list.New()}
	stop := context.AfterFunc(ctx, func() { k.wire.Interrupt(ctx.Err()) })
	defer stop()
	if err := k.begin(ctx); err != nil {
		if reason := k.wire.Err(); reason != nil {
			err = reason
		}
		k.close()
		return nil, wire.DialError(address, err)
	}
	return k, nil
}

func (k *control) begin(ctx context.Context) (err error) {
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

// recall returns a peer that is known, nil if it is not.
func (k *control) recall(name string) *Peer {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.peers[name]
	if at == nil {
		return nil
	}
	k.byUse.MoveToFront(at)
	if e := entryOf(at); e.ready {
		return e.peer
	}
	return nil
}

// identify finds out who a peer is and calls done, once. If the bus does not say, Known is
// false. Nobody else may be asking for the same name.
func (k *control) identify(name string, done func(*Peer)) {
	e := k.remember(strings.Clone(name))
	k.asking.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), questionTimeout)
		defer cancel()
		err := identify(e.peer, func() (map[string]dbus.Variant, error) { return k.credentials(ctx, name) }, look)
		var failed dbus.Error
		k.mu.Lock()
		if e.ready = ctx.Err() == nil; errors.As(err, &failed) && failed.Name == wire.ErrNameHasNoOwner {
			e.left()
		}
		k.mu.Unlock()
		done(e.peer)
	})
}

func (k *control) credentials(ctx context.Context, name string) (map[string]dbus.Variant, error) {
	var credentials map[string]dbus.Variant
	err := k.bus.BusObject().CallWithContext(ctx, wire.BusInterface+".GetConnectionCredentials", 0, name).Store(&credentials)
	return credentials, err
}

// remember makes the entry of a peer before the bus is asked, so that it is not missed if
// the peer leaves meanwhile.
func (k *control) remember(name string) *peerEntry {
	ctx, left := context.WithCancel(context.Background())
	e := &peerEntry{peer: &Peer{Name: name, Left: ctx}, left: left}
	k.mu.Lock()
	defer k.mu.Unlock()
	if at := k.peers[name]; at != nil {
		k.forget(at)
	}
	if k.byUse.Len() >= maxPeers {
		k.forget(k.byUse.Back())
	}
	k.peers[name] = k.byUse.PushFront(e)
	return e
}

func (k *control) forget(at *list.Element) {
	e := entryOf(at)
	e.left()
	k.byUse.Remove(at)
	delete(k.peers, e.peer.Name)
}

// leave notes that a peer has left the bus. Who it was stays known, as calls of it may be
// waiting to be read: the bus gives its name to nobody else.
func (k *control) leave(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at := k.peers[name]; at != nil {
		entryOf(at).left()
		k.byUse.MoveToBack(at) // or peers that left would push out those that are there
	}
}

func entryOf(at *list.Element) *peerEntry {
	e, _ := at.Value.(*peerEntry) // nothing else is put in
	return e
}

// ping asks the bus whether it answers. The policy of Debian denies Peer.Ping.
func (k *control) ping(ctx context.Context) error {
	return k.bus.BusObject().CallWithContext(ctx, wire.BusInterface+".GetId", 0).Err
}

// close ends the connection and waits for all that runs on it.
func (k *control) close() {
	k.wire.Interrupt(wire.ErrClosed)
	if k.bus != nil {
		_ = k.bus.Close()
	}
	k.asking.Wait()
	k.reading.Lock() // the reader has left, because it was interrupted
	defer k.reading.Unlock()
	_ = k.wire.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.byUse.Len() > 0 {
		k.forget(k.byUse.Back())
	}
}

// transport is the side of a control that godbus sees.
type transport control

// Read gives godbus what the bus replies to it. One goroutine of godbus calls it.
func (t *transport) Read(p []byte) (int, error) {
	k := (*control)(t)
	k.reading.Lock()
	defer k.reading.Unlock()
	if !k.begun.Load() {
		return k.wire.Raw().Read(p)
	}
	for len(k.rest) == 0 {
		m, err := k.wire.Read(admitFromBus)
		if err != nil {
			k.wire.Interrupt(err)
			return 0, err
		}
		if m.Refused == nil {
			k.receive(m)
		}
	}
	n := copy(p, k.rest)
	k.rest = k.rest[n:]
	return n, nil
}

// admitFromBus lets through what the bus itself says, of bounded size.
func admitFromBus(m *wire.Message) error {
	if m.Sender == wire.BusName && m.BodySize <= maxCredentials {
		return nil
	}
	return errUnwanted
}

func (k *control) receive(m *wire.Message) {
	switch {
	case m.Type == wire.TypeReply, m.Type == wire.TypeError:
		k.rest = m.Frame()
	case m.Member == "NameOwnerChanged":
		d := m.Decoder()
		if name := d.String(); d.Err() == nil {
			k.leave(name)
		}
	}
}

// Write takes what godbus says: lines while it authenticates, then whole messages.
func (t *transport) Write(p []byte) (int, error) {
	k := (*control)(t)
	if string(p) == "BEGIN\r\n" {
		defer k.begun.Store(true)
	}
	n, err := k.wire.Write(p, writeTimeout)
	if err != nil {
		k.wire.Interrupt(err)
	}
	return n, err
}

// Close is for godbus; control.close closes the socket.
func (t *transport) Close() error {
	(*control)(t).wire.Interrupt(errors.New("godbus closed the connection"))
	return nil
}
