package dbusapi

import (
	"encoding/binary"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
)

const (
	campaignMessages = 10_000   // of each of two users, on each of two buses
	campaignKinds    = 50       // kinds of messages, at least
	campaignVolley   = 100      // messages in a row; a dbus-daemon allows 128 pending calls
	campaignBytes    = 4 << 20  // bytes in a row, unless a message is larger
	campaignMemory   = 32 << 20 // bytes that the memory of the process may grow
	daemonUID        = 1        // Debian's user daemon, which may call the service here
)

// campaignPolicy lets root and daemon call the service. Other users may only ping and introspect it.
const campaignPolicy = `
  <policy user="daemon">
    <allow send_destination="org.osctl.Eventd"/>
  </policy>`

// campaignUsers returns the attackers.
func campaignUsers() map[string]uint32 {
	return map[string]uint32{"unprivileged": bustest.NobodyUID, "permitted": daemonUID}
}

// An unprivileged and a permitted user send 100,000 messages of all kinds of the table. On each bus the
// service keeps its name, serves another client, and does not take more memory afterwards.
func TestHostileCampaign(t *testing.T) {
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			h := hostileStart(t, kind, bustest.PolicyRootOnly, campaignPolicy)
			for name, uid := range campaignUsers() {
				t.Run(name, func(t *testing.T) {
					h.recordUsage(t)
					memory := memoryInUse()
					served := h.served.Load()
					sent, kinds := h.campaign(t, uid, campaignMessages)
					if sent < campaignMessages || kinds < campaignKinds {
						t.Errorf("%d messages of %d kinds were sent", sent, kinds)
					}
					hostileUntil(t, "the other client is served", func() bool { return h.served.Load() > served+1 })
					h.wantUnharmed(t)
					if after := memoryInUse(); after > memory+campaignMemory {
						t.Errorf("the process has %d bytes in use, before it had %d", after, memory)
					}
					t.Logf("%d messages of %d kinds; %d bytes in use before, %d after; the other client was served %d times", sent, kinds, memory, memoryInUse(), h.served.Load()-served)
				})
			}
		})
	}
}

// campaign sends n messages of all kinds of the table in turns, as a user. It returns the number of sent
// messages and of kinds.
func (h *hostileTarget) campaign(tb testing.TB, uid uint32, n int) (sent, kinds int) {
	tb.Helper()
	c := h.dialAs(tb, uid)
	defer func() { c.close() }()
	attacks := hostileAttacks(h)
	if h.kind == bustest.Broker && uid == bustest.NobodyUID {
		attacks = slices.DeleteFunc(attacks, func(a hostileAttack) bool { return a.endsBroker })
	}
	raws := make([][]byte, len(attacks))
	for i := range attacks {
		raws[i] = attacks[i].bytes()
	}
	cut := make([]bool, len(attacks)) // the bus disconnects the sender
	for round := 0; sent < n; round++ {
		before := sent
		for i, raw := range raws {
			if round > 0 && (cut[i] || len(raw) > campaignBytes/campaignVolley) {
				continue // each costs a connection, or megabytes
			}
			copies := campaignVolley
			if round == 0 {
				copies = 1 // to see whether the bus disconnects
			}
			alive, err := c.volley(raw, min(copies, max(1, campaignBytes/len(raw))))
			if err != nil {
				tb.Fatalf("%s: %v", attacks[i].name, err)
			}
			sent += min(copies, max(1, campaignBytes/len(raw)))
			if cut[i] = !alive; cut[i] {
				c.close()
				c = h.dialAs(tb, uid)
			}
			if tb.Failed() {
				return sent, len(attacks)
			}
		}
		if sent == before {
			tb.Fatal("the bus disconnects for every kind")
		}
	}
	return sent, len(attacks)
}

// volley sends copies of a message, each with a new serial, then a ping, and waits for its answer. It
// returns false if the bus ended the connection.
func (c *hostileConn) volley(raw []byte, copies int) (alive bool, err error) {
	var order binary.ByteOrder = binary.LittleEndian
	if raw[0] == 'B' {
		order = binary.BigEndian
	}
	numbered := order.Uint32(raw[8:])>>16 == hostileSerial>>16
	var all []byte
	for range copies {
		at := len(all)
		all = append(all, raw...)
		if c.serial++; numbered {
			order.PutUint32(all[at+8:], hostileSerial+c.serial)
		}
	}
	if err := c.write(all); err != nil {
		_, err := classifyEnd(err)
		return false, err
	}
	if _, err := c.call(bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "Ping")); err != nil {
		_, err := classifyEnd(err)
		return false, err
	}
	return true, c.sock.SetDeadline(time.Now().Add(apitest.Patience))
}

// memoryInUse returns the memory that the runtime has from the system, in bytes. The resident set would
// include the race detector, which never shrinks.
func memoryInUse() uint64 {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Sys - stats.HeapReleased
}
