package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

func openControl(t *testing.T, bus *bustest.Bus) *control {
	t.Helper()
	k, err := dialControl(apitest.Bounded(t), bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	return k
}

// ask identifies a peer and waits for the answer.
func (k *control) ask(t *testing.T, name string) *Peer {
	t.Helper()
	answers := make(chan *Peer, 1)
	k.identify(name, func(p *Peer) { answers <- p })
	return apitest.Await(t, "an answer about "+name, answers)
}

func TestIdentifyOnBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		k := openControl(t, bus)
		root, nobody := bus.ClientAs(t, 0), bus.ClientAs(t, bustest.NobodyUID)
		if p := k.recall(root.Name()); p != nil {
			t.Errorf("before identify: %+v", p)
		}
		source := cmp.Or(UnitOf(uint32(os.Getpid())), "uid:0")
		if p := k.ask(t, root.Name()); p.UID != 0 || !p.Known || p.Source != source || p.Left.Err() != nil || k.recall(root.Name()) != p {
			t.Errorf("root is %+v, want source %s", p, source)
		}
		p := k.ask(t, nobody.Name())
		if p.UID != bustest.NobodyUID || !p.Known || p.Source != "uid:65534" {
			t.Errorf("nobody is %+v", p)
		}
		// A peer that leaves stays identified.
		_ = nobody.Close()
		apitest.Await(t, "the peer left", p.Left.Done())
		if got := k.recall(nobody.Name()); got != p || !p.Known {
			t.Errorf("after it left it is %+v", got)
		}
		if p := k.recall(root.Name()); p == nil || p.Left.Err() != nil {
			t.Errorf("another is %+v", p)
		}
		// A peer that left before identify, and invalid names.
		gone := bus.ClientAs(t, 0)
		_ = gone.Close()
		apitest.Eventually(t, "it left", func() bool {
			_, err := root.CallDriver(apitest.Bounded(t), "GetNameOwner", "s", new(bustest.Body).String(gone.Name()))
			return bustest.ErrorName(err) == wire.ErrNameHasNoOwner
		})
		for _, name := range []string{gone.Name(), ":1.999999"} {
			p := k.ask(t, name)
			if p.Known || p.Source != "" || p.Left.Err() == nil || k.recall(name) != p {
				t.Errorf("the missing peer %s is %+v; left %v", name, p, p.Left.Err())
			}
			if got := k.leavers.last.value; got != name {
				t.Errorf("the missing peer %s would not be evicted; the last is %s", name, got)
			}
		}
		for _, name := range []string{"", "\xff\x00", "a b"} { // no bus has such senders
			if p := k.ask(t, name); p.Known {
				t.Errorf("%q is %+v", name, p)
			}
		}
		for i := range maxPeers { // a full cache of present peers
			k.remember(fmt.Sprint("p", i))
		}
		if p := k.ask(t, ":1.999998"); p.Known || p.Left.Err() == nil || k.recall(":1.999998") != nil {
			t.Errorf("the missing peer is %+v; left %v; kept %v", p, p.Left.Err(), k.recall(":1.999998"))
		}
	})
}

// The cache of peers is bounded. New peers replace those that left, in the order of leaving, but no present
// ones.
func TestPeersAreBounded(t *testing.T) {
	k := &control{peers: map[string]*peerEntry{}}
	add := func(name string) *Peer {
		e := k.remember(name)
		e.answered = true
		return e.peer
	}
	first := add("first")
	for i := range 3 * maxPeers {
		name := fmt.Sprint("p", i)
		add(name)
		k.markLeft(name)
		k.markLeft(name)
	}
	last := add("last")
	k.markLeft("last")
	for i := range maxPeers - 2 {
		if k.recall("first") != first || k.recall("last") != last {
			t.Fatalf("evicted after %d new peers: the present one is %+v, the last that left %+v", i, k.recall("first"), k.recall("last"))
		}
		add(fmt.Sprint("n", i))
	}
	newest := add("newest")
	if k.recall("last") != nil || k.recall("newest") != newest || len(k.peers) != maxPeers || !k.leavers.empty() {
		t.Errorf("there are %d peers; the last that left is %+v", len(k.peers), k.recall("last"))
	}
	// While all are present, no further peer is kept.
	for i := range 3 * maxPeers {
		if more := add(fmt.Sprint("m", i)); more.Left.Err() != nil || k.recall(more.Name) != nil {
			t.Fatalf("another peer is kept: %+v", more)
		}
	}
	if k.recall("first") != first || k.recall("newest") != newest || len(k.peers) != maxPeers || first.Left.Err() != nil {
		t.Errorf("there are %d peers; present ones were evicted", len(k.peers))
	}
	// The next question about a peer replaces its entry.
	again := k.remember("first")
	if k.recall("first") != nil {
		t.Error("before the answer:", k.recall("first"))
	}
	k.markLeft("first")
	if first.Left.Err() == nil || again.peer.Left.Err() == nil {
		t.Error("after it left:", first.Left.Err(), again.peer.Left.Err())
	}
	if add("first").Left.Err() == nil || add("more") != k.recall("more") || k.recall("first") != nil || !k.leavers.empty() {
		t.Error("the peer that left was not evicted, or is listed twice")
	}
}

// In a full cache, a peer that was identified and leaves stays known while others are identified.
func TestKnownPeerLeavesFullCache(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		k := openControl(t, bus)
		for i := range maxPeers {
			name := fmt.Sprint("p", i)
			k.remember(name)
			k.markLeft(name)
		}
		leaver := bus.ClientAs(t, 0)
		p := k.ask(t, leaver.Name())
		_ = leaver.Close()
		apitest.Await(t, "the peer left", p.Left.Done())
		for range 3 {
			k.ask(t, bus.ClientAs(t, 0).Name())
		}
		if got := k.recall(leaver.Name()); got != p || !p.Known {
			t.Errorf("the peer that left is %+v, want %+v", got, p)
		}
	})
}

// Messages of peers to the control connection do not reach godbus, which some would crash or disconnect.
func TestForeignMessagesOnControl(t *testing.T) {
	const policy = `<policy context="default"><allow send_destination="*" send_requested_reply="false"/><allow send_type="method_call"/>` +
		`<allow receive_type="method_call"/><allow receive_requested_reply="false"/></policy>`
	t.Parallel()
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			bus := bustest.Start(t, kind, policy)
			k := openControl(t, bus)
			to := k.bus.Names()[0]
			c := bus.ClientAs(t, 0, bustest.WithUnixFDs())
			messages := foreignSignals(to)
			files := *messages[0]
			call, reply := files, files
			call.Type = bustest.TypeCall
			reply.Type, reply.Path, reply.Interface, reply.Member = bustest.TypeReturn, "", "", ""
			failure := reply
			failure.Type, failure.ErrorName = bustest.TypeError, "a.b.C"
			messages = append(messages, &call)
			for serial := range uint32(20) { // godbus counts its serials from 1
				reply, failure := reply, failure
				reply.ReplySerial, failure.ReplySerial = serial+1, serial+1
				messages = append(messages, &reply, &failure)
			}
			for _, m := range messages {
				m.Serial = c.NextSerial()
				if err := c.Send(apitest.Bounded(t), m.Marshal()); err != nil {
					t.Fatal(err)
				}
				if p := k.ask(t, c.Name()); !p.Known {
					t.Fatalf("after %+v: %+v", m, p)
				}
			}
			if err := k.ping(apitest.Bounded(t)); err != nil || k.wire.Err() != nil {
				t.Error("ping:", err, k.wire.Err())
			}
		})
	}
}

// bareControl returns a control without a bus and without godbus. The test writes as the bus, and reads as
// godbus.
func bareControl(t *testing.T) (*control, net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	k := &control{wire: wire.NewConn(here), peers: map[string]*peerEntry{}}
	k.authenticated.Store(true)
	t.Cleanup(func() {
		k.close()
		_ = there.Close()
	})
	return k, there
}

// godbus gets only replies of the bus itself, of bounded size.
func TestOnlyBusRepliesReachGodbus(t *testing.T) {
	k, bus := bareControl(t)
	left := k.remember(":1.7").peer
	stays := k.remember(":1.8").peer
	from := func(sender string, typ byte, serial uint32, size int) *bustest.Message {
		return &bustest.Message{
			Type: typ, Serial: serial, ReplySerial: 1, Sender: sender, ErrorName: "a.b.C", Path: "/", Interface: "a.b", Member: "C",
			Signature: "ay", Body: make([]byte, size),
		}
	}
	owner := func(sender, name string) *bustest.Message {
		m := from(sender, bustest.TypeSignal, 9, 0)
		m.Path, m.Interface, m.Member, m.Signature = wire.BusPath, wire.BusInterface, "NameOwnerChanged", "sss"
		m.Body = new(bustest.Body).String(name).String(name).String("").Bytes()
		return m
	}
	cut := owner(wire.BusName, ":1.8")
	cut.Body = cut.Body[:6]
	written := make(chan error, 1)
	go func() {
		for _, m := range []*bustest.Message{
			from(":1.5", bustest.TypeReturn, 1, 10), from(":1.5", bustest.TypeError, 2, 10), from("", bustest.TypeReturn, 3, 10),
			from("org.freedesktop.DBus2", bustest.TypeReturn, 4, 10), from(wire.BusName, bustest.TypeCall, 5, 10),
			from(wire.BusName, bustest.TypeSignal, 6, 10), from(wire.BusName, bustest.TypeReturn, 7, maxCredentials+1),
			from(wire.BusName, 77, 8, 10), owner(":1.5", ":1.8"), owner(wire.BusName, ":1.7"), cut,
			from(wire.BusName, bustest.TypeReturn, 100, maxCredentials), from(wire.BusName, bustest.TypeError, 101, 10),
		} {
			if _, err := bus.Write(m.Marshal()); err != nil {
				written <- err
				return
			}
		}
		written <- bus.Close()
	}()
	for _, serial := range []uint32{100, 101} {
		if m, err := bustest.ReadMessage((*transport)(k)); err != nil || m.Serial != serial || m.Sender != wire.BusName {
			t.Fatalf("godbus reads %+v, %v; want %d", m, err, serial)
		}
	}
	if _, err := (*transport)(k).Read(make([]byte, 1)); !errors.Is(err, wire.ErrBusClosed) || !errors.Is(k.wire.Err(), wire.ErrBusClosed) {
		t.Error("at the end:", err, k.wire.Err())
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	apitest.Await(t, "the connection ends", k.wire.Done())
	if left.Left.Err() == nil || stays.Left.Err() != nil {
		t.Error("Left of :1.7 and :1.8:", left.Left.Err(), stays.Left.Err())
	}
}

// godbus may read a message in parts of any size.
func TestReadInParts(t *testing.T) {
	k, bus := bareControl(t)
	m := &bustest.Message{Type: bustest.TypeReturn, Serial: 1, ReplySerial: 1, Sender: wire.BusName, Signature: "s", Body: new(bustest.Body).String("hello").Bytes()}
	want := append(m.Marshal(), m.Marshal()...)
	go func() { _, _ = bus.Write(want) }()
	var got []byte
	for part := make([]byte, 3); len(got) < len(want); {
		n, err := (*transport)(k).Read(part)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part[:n]...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("read was %q, want %q", got, want)
	}
}

func TestControlWithHungBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		k := openControl(t, bus)
		bus.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := k.ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("ping:", err)
		}
		answers := make(chan *Peer, maxQuestions)
		for i := range maxQuestions {
			k.identify(fmt.Sprint(":1.", i), func(p *Peer) { answers <- p })
		}
		k.close() // ends the questions
		if len(answers) != maxQuestions {
			t.Errorf("%d questions were answered", len(answers))
		}
		for range len(answers) {
			if p := <-answers; p.Known {
				t.Errorf("peer is %+v", p)
			}
		}
		bus.Cont()
	})
}

func TestControlWithDeadBus(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		k := openControl(t, bus)
		bus.Kill()
		apitest.Await(t, "the connection ends", k.wire.Done())
		if k.wire.Err() == nil {
			t.Error("Err is nil")
		}
		if err := k.ping(t.Context()); err == nil {
			t.Error("no error from a dead bus")
		}
		if p := k.ask(t, ":1.1"); p.Known {
			t.Errorf("peer is %+v", p)
		}
		if _, err := dialControl(t.Context(), bus.Address()); err == nil {
			t.Error("no error without a bus")
		}
	})
}

// If the bus does not answer in time, or with an error, the next call asks again.
func TestUnansweredIdentify(t *testing.T) {
	t.Run("no answer", func(t *testing.T) { testUnansweredIdentify(t, nil) })
	t.Run("an error", func(t *testing.T) {
		testUnansweredIdentify(t, &bustest.Message{Type: bustest.TypeError, ErrorName: "org.freedesktop.DBus.Error.NoMemory"})
	})
}

// testUnansweredIdentify identifies a peer twice. The bus answers the first question with a message, or not at
// all if that is nil.
func testUnansweredIdentify(t *testing.T, first *bustest.Message) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		k := &control{wire: wire.NewConn(here), peers: map[string]*peerEntry{}}
		served := make(chan error, 1)
		asked := 0
		go func() {
			served <- playBus(there, func(m *bustest.Message) *bustest.Message {
				if m.Member == "GetConnectionCredentials" {
					if asked++; asked == 1 {
						return first
					}
					body := new(bustest.Body).Array(8, func(b *bustest.Body) {
						b.Align(8).String("UnixUserID").Variant("u", func(b *bustest.Body) { b.Uint32(7) })
					})
					return &bustest.Message{Signature: "a{sv}", Body: body.Bytes()}
				}
				return &bustest.Message{Signature: "s", Body: new(bustest.Body).String(":1.7").Bytes()}
			})
		}()
		if err := k.handshake(t.Context()); err != nil {
			t.Fatal(err)
		}
		ask := func() *Peer {
			answers := make(chan *Peer)
			k.identify(":1.5", func(p *Peer) { answers <- p })
			return <-answers
		}
		if p := ask(); p.Known || k.recall(":1.5") != nil || p.Left.Err() != nil {
			t.Errorf("without an answer it is %+v", p)
		}
		if p := ask(); !p.Known || p.UID != 7 || p.Source != "uid:7" || k.recall(":1.5") != p {
			t.Errorf("after the second question it is %+v", p)
		}
		k.close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
