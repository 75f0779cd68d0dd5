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
	// campaignMessages is how many messages a user sends on a bus: twice that for two
	// users, and again for two buses, is the whole campaign.
	campaignMessages = 25_000

	// campaignKinds is how many kinds of behaviour there are at least.
	campaignKinds = 50

	// campaignVolley is how many messages go out together: a dbus-daemon lets a
	// connection have 128 calls without an answer.
	campaignVolley = 100

	// campaignBytes is how much of a kind goes out together, in bytes, or one message.
	campaignBytes = 4 << 20

	// campaignMemory is how much more memory the process may have in use afterwards, in bytes.
	campaignMemory = 32 << 20

	// daemonUID is Debian's user daemon, who may call the service in the campaign.
	daemonUID = 1
)

// campaignPolicy lets root and daemon call the service, nobody else more than ping and
// introspect it.
const campaignPolicy = `
  <policy user="daemon">
    <allow send_destination="org.osctl.Eventd"/>
  </policy>`

// campaignUsers returns who attacks.
func campaignUsers() map[string]uint32 {
	return map[string]uint32{"unprivileged": bustest.NobodyUID, "permitted": daemonUID}
}

// TestHostileCampaign sends 100,000 messages, of all kinds of the table of hostile
// messages, as one who may do nothing and as one who may call: on each bus the service
// keeps its name, goes on serving another client, and is not larger afterwards.
func TestHostileCampaign(t *testing.T) {
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			h := hostileStart(t, kind, bustest.PolicyRootOnly, campaignPolicy)
			for name, uid := range campaignUsers() {
				t.Run(name, func(t *testing.T) {
					h.before(t)
					memory := memoryInUse()
					served := h.served.Load()
					sent, kinds := h.campaign(t, uid, campaignMessages)
					if sent < campaignMessages || kinds < campaignKinds {
						t.Errorf("%d messages of %d kinds were sent", sent, kinds)
					}
					hostileUntil(t, "the other client is served", func() bool { return h.served.Load() > served+1 })
					h.unharmed(t)
					if after := memoryInUse(); after > memory+campaignMemory {
						t.Errorf("the process has %d bytes in use, before it had %d", after, memory)
					}
					t.Logf("%d messages of %d kinds; %d bytes in use before, %d after; the other client was served %d times", sent, kinds, memory, memoryInUse(), h.served.Load()-served)
				})
			}
		})
	}
}

// campaign sends n messages as a user, of all kinds of the table in turns, and returns
// how many it sent and of how many kinds.
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
	cut := make([]bool, len(attacks)) // the bus ends who sends that
	for round := 0; sent < n; round++ {
		before := sent
		for i, raw := range raws {
			if round > 0 && (cut[i] || len(raw) > campaignBytes/campaignVolley) {
				continue // each costs a connection, or megabytes
			}
			copies := campaignVolley
			if round == 0 {
				copies = 1 // to see whether it is cut
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
			tb.Fatal("every kind is cut off")
		}
	}
	return sent, len(attacks)
}

// volley sends copies of a message, each with a serial of its own, then a ping, and
// reads until that is answered. It returns false where the bus ended the connection.
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
		_, err := hostileEnd(err)
		return false, err
	}
	if _, err := c.call(bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "Ping")); err != nil {
		_, err := hostileEnd(err)
		return false, err
	}
	return true, c.sock.SetDeadline(time.Now().Add(apitest.Patience))
}

// memoryInUse is what this process has of the system and did not give back, in bytes.
// Not its resident set: that has what the race detector notes, which never shrinks.
func memoryInUse() uint64 {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Sys - stats.HeapReleased
}
