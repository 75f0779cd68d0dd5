package dbusapi

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// Attacks that take more than a message.
func TestHostileClients(t *testing.T) {
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			h := hostileStart(t, kind)
			for _, c := range []struct {
				name   string
				attack func(t *testing.T, h *hostileTarget)
			}{
				{"flood without replies", hostileFloodNoReply},
				{"flood of signals", hostileFloodSignals},
				{"flood without reading", hostileFloodUnread},
				{"half a message", hostileHalf},
				{"wait and die", hostileWaitAndDie},
				{"too many waits", hostileTooManyWaits},
				{"large waits", hostileLargeWaits},
				{"replies to nothing", hostileReplies},
				{"fake signals of the bus", hostileFakeBus},
			} {
				t.Run(c.name, func(t *testing.T) {
					h.recordUsage(t)
					c.attack(t, h)
					h.wantUnharmed(t)
				})
			}
		})
	}
}

// ping calls Ping and checks the reply.
func (c *hostileConn) ping(t *testing.T) {
	t.Helper()
	reply, err := c.call(bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "Ping"))
	if err != nil || reply.Type != bustest.TypeReturn {
		t.Fatalf("ping: %+v, %v", reply, err)
	}
}

// flood writes copies of messages, each with a new serial.
func (c *hostileConn) flood(t *testing.T, n int, messages ...*bustest.Message) {
	t.Helper()
	var raw []byte
	for i := range n {
		c.serial++
		m := *messages[i%len(messages)]
		m.Serial = c.serial
		raw = append(raw, m.Marshal()...)
	}
	if err := c.write(raw); err != nil {
		t.Fatal(err)
	}
}

func hostileFloodNoReply(t *testing.T, h *hostileTarget) {
	c := h.dial(t)
	defer c.close()
	nothing := func(b *bustest.Body) { b.Dict() }
	messages := []*bustest.Message{
		hostileReport("evil", nothing), hostileOption("ah", hostileEmpty(4)), hostileWait("oldest", 0, 0, nothing), hostileWait("", 0, 60_000, nothing),
		bustest.MethodCall(wire.Name, wire.Path, wire.Interface, "Nope"), bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Introspectable", "Introspect"),
	}
	for _, m := range messages {
		m.Flags = bustest.FlagNoReply
	}
	h.during(t, 2, func() { c.flood(t, 600, messages...) })
	c.ping(t) // its reply is the first one, because the messages want none
}

func hostileFloodSignals(t *testing.T, h *hostileTarget) {
	c := h.dial(t)
	defer c.close()
	var messages []*bustest.Message
	for _, to := range []string{wire.Name, h.main, h.callers} {
		messages = append(messages, hostileSignal(to, wire.BusInterface, "NameLost", "s", hostileText(wire.Name)),
			hostileSignal(to, wire.Interface, "Event", "ah", hostileEmpty(4)))
	}
	h.during(t, 2, func() { c.flood(t, 1200, messages...) })
	c.ping(t)
}

// hostileFloodUnread does not read its replies, some 10 MB, which wait in the bus and are dropped with the
// connection. Calls of other clients wait behind the flood in the bus, and are answered.
func hostileFloodUnread(t *testing.T, h *hostileTarget) {
	before := h.hub.Counters()["bus_losses"]
	for range 2 {
		c := h.dial(t)
		c.flood(t, 2000, bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Introspectable", "Introspect"), bustest.MethodCall(wire.Name, wire.Path, wire.Interface, "Nope"))
		served := h.served.Load()
		hostileUntil(t, "the other client is served while the replies are not read", func() bool { return h.served.Load() > served+1 })
		c.close()
	}
	if after := h.hub.Counters()["bus_losses"]; after != before {
		t.Errorf("the bus was lost %d times", after-before)
	}
}

// hostileHalf connects clients that send a part of a message and leave.
func hostileHalf(t *testing.T, h *hostileTarget) {
	m := hostileReport("evil", func(b *bustest.Body) { b.Dict("x", strings.Repeat("y", 5000)) })
	m.Serial = 7
	raw := m.Marshal()
	parts := []int{1, 15, 16, 17, 100, len(raw) - 5000, len(raw) - 1}
	i := 0
	h.during(t, 3*len(parts), func() {
		c := h.dial(t)
		defer c.close()
		if err := c.write(raw[:parts[i%len(parts)]]); err != nil {
			t.Fatal(err)
		}
		i++
	})
}

// hostileWaitAndDie connects clients that leave during a wait.
func hostileWaitAndDie(t *testing.T, h *hostileTarget) {
	wait := hostileWait("", 0, 60_000, func(b *bustest.Body) { b.Dict("type", "never") })
	i := 0
	h.during(t, 60, func() {
		c := h.dial(t)
		defer c.close()
		c.flood(t, 1+i%70, wait)
		if i%2 == 0 {
			c.ping(t) // now the waits are pending
		}
		i++
	})
}

// waits returns the number of pending waits, in all and of a connection.
func (h *hostileTarget) waits(name string) (all, own int) {
	ws := h.session.waits
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, n := range ws.users {
		all += n
	}
	return all, ws.conns[name]
}

func hostileTooManyWaits(t *testing.T, h *hostileTarget) {
	wait := hostileWait("", 0, 60_000, func(b *bustest.Body) { b.Dict("type", "never") })
	h.during(t, 2, func() {
		c := h.dial(t)
		defer c.close()
		c.flood(t, wire.MaxWaits+10, wait)
		for i := range 10 {
			m, err := c.until(c.serial - 9 + uint32(i))
			if err != nil || hostileOutcome(m) != "service LimitsExceeded" {
				t.Fatalf("wait %d over the limit: %+v, %v", i, m, err)
			}
		}
		if _, own := h.waits(c.name); own != wire.MaxWaits {
			t.Errorf("%d waits of the attacker are pending, want %d", own, wire.MaxWaits)
		}
		// The waits of the previous connection end, and the other client's do not wait.
		hostileUntil(t, "only these are pending", func() bool { all, _ := h.waits(""); return all == wire.MaxWaits })
		c.ping(t)
	})
}

// hostileLargeWaits fills as much memory with waits as the limits allow.
func hostileLargeWaits(t *testing.T, h *hostileTarget) {
	value := strings.Repeat("x", 15_000)
	wait := hostileWait("", 0, 60_000, func(b *bustest.Body) { b.Dict("type", value) })
	huge := hostileWait("", 0, 60_000, func(b *bustest.Body) { b.Dict("type", value+value) })
	heap := hostileHeapInUse()
	h.during(t, 1, func() {
		hostileUntil(t, "no wait is left", func() bool { all, _ := h.waits(""); return all == 0 })
		for range 4 {
			c := h.dial(t)
			defer c.close()
			c.flood(t, wire.MaxWaits, wait)
			c.ping(t)
			reply, err := c.call(huge)
			if err != nil || hostileOutcome(reply) != "service TooLarge" {
				t.Errorf("%+v, %v", reply, err)
			}
		}
		pending := 0
		hostileUntil(t, "all wait", func() bool { pending, _ = h.waits(""); return pending == 4*wire.MaxWaits })
		if used := hostileHeapInUse(); used > heap+uint64(pending)*(24<<10)+hostileHeap {
			t.Errorf("%d pending waits take %d bytes", pending, used-heap)
		}
	})
}

// hostileReplies sends replies with all serials of possible calls of the service's connections, or of a
// client.
func hostileReplies(t *testing.T, h *hostileTarget) {
	victim, err := client.Dial(t.Context(), h.bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	// The victim has a call pending, with one of the serials.
	type answer struct {
		events []*hub.Event
		err    error
	}
	answers := make(chan answer, 1)
	ctx := t.Context()
	go func() {
		filter, err := hub.Filter{}.With("type", "awaited")
		if err != nil {
			answers <- answer{nil, err}
			return
		}
		_, events, err := victim.WaitEvents(ctx, "", filter, 0, time.Minute)
		answers <- answer{events, err}
	}()
	hostileUntil(t, "the victim waits", func() bool { all, _ := h.waits(""); return all == 1 })
	h.during(t, 2, func() {
		c := h.dial(t)
		defer c.close()
		for _, to := range []string{h.main, h.callers, victim.Name()} {
			for _, typ := range []byte{bustest.TypeReturn, bustest.TypeError} {
				var raw []byte
				for serial := range uint32(100) {
					m := bustest.Message{Type: typ, Serial: 1, ReplySerial: serial + 1, Destination: to, Signature: "ah", Body: binary.LittleEndian.AppendUint32(nil, 0)}
					if typ == bustest.TypeError {
						m.ErrorName = "a.b.C"
					}
					raw = append(raw, m.Marshal()...)
				}
				if err := c.write(raw); err != nil { // a dbus-broker disconnects the sender
					c.close()
					c = h.dial(t)
				}
			}
		}
	})
	select {
	case a := <-answers:
		t.Fatalf("the victim was answered: %v, %v", a.events, a.err)
	default:
	}
	h.commit(t, "awaited")
	if a := <-answers; a.err != nil || len(a.events) != 1 {
		t.Errorf("the victim got %v, %v", a.events, a.err)
	}
}

func (h *hostileTarget) commit(t *testing.T, typ string) {
	t.Helper()
	event, err := hub.NewEvent(typ, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.hub.Commit(hub.Batch{Events: []*hub.Event{event}}); err != nil {
		t.Fatal(err)
	}
}

// hostileFakeBus sends signals as if from the bus: that the victim left, and that the name was lost. The
// service ignores them.
func hostileFakeBus(t *testing.T, h *hostileTarget) {
	victim, c := h.dial(t), h.dial(t)
	defer victim.close()
	defer c.close()
	serial, err := victim.send(hostileWait("", 0, 60_000, func(b *bustest.Body) { b.Dict("type", "awaited") }))
	if err != nil {
		t.Fatal(err)
	}
	victim.ping(t)
	h.during(t, 5, func() {
		for _, to := range []string{wire.Name, h.main, h.callers} {
			for _, m := range []*bustest.Message{
				hostileSignal(to, wire.BusInterface, "NameLost", "s", hostileText(wire.Name)),
				hostileSignal(to, wire.BusInterface, "NameOwnerChanged", "sss", func(b *bustest.Body) { b.String(victim.name).String(victim.name).String("") }),
			} {
				m.Path, m.Sender = wire.BusPath, wire.BusName
				if _, err := c.send(m); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.ping(t)
	})
	if _, own := h.waits(victim.name); own != 1 {
		t.Errorf("the victim has %d pending waits, want 1", own)
	}
	h.commit(t, "awaited")
	if reply, err := victim.until(serial); err != nil || reply.Type != bustest.TypeReturn {
		t.Errorf("the victim got %+v, %v", reply, err)
	}
}
