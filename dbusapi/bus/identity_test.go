package bus

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/wire"
)

// A peer gets the name of a unit only if it is certainly its own.
func TestIdentify(t *testing.T) {
	reply := func(uid, pid any) map[string]dbus.Variant {
		m := map[string]dbus.Variant{}
		if uid != nil {
			m["UnixUserID"] = dbus.MakeVariant(uid)
		}
		if pid != nil {
			m["ProcessID"] = dbus.MakeVariant(pid)
		}
		return m
	}
	gone := dbus.Error{Name: wire.ErrNameHasNoOwner}
	osctld := &process{unit: "osctld.service", uids: []uint32{0, 0, 0, 0}}
	for _, test := range []struct {
		name    string
		reply   map[string]dbus.Variant
		first   error // of the first question, before the inspection
		second  error // of the second question
		process *process
		want    string // source; "" if the peer stays unknown
	}{
		{"a service", reply(uint32(0), uint32(7)), nil, nil, osctld, "osctld.service"},
		{"a process in no unit", reply(uint32(5), uint32(7)), nil, nil, &process{uids: []uint32{5, 5, 5, 5}}, "uid:5"},
		{"a service that changed its user", reply(uint32(0), uint32(7)), nil, nil, &process{unit: "a.service", uids: []uint32{5, 5, 0, 5}}, "a.service"},
		{"left during the inspection, the pid is reused", reply(uint32(0), uint32(7)), nil, gone, osctld, "uid:0"},
		{"connection passed on, the pid is reused", reply(uint32(5), uint32(7)), nil, nil, osctld, "uid:5"},
		{"the process has ended", reply(uint32(5), uint32(7)), nil, nil, nil, "uid:5"},
		{"the bus knows no process", reply(uint32(5), nil), nil, nil, osctld, "uid:5"},
		{"the bus knows no user", reply(nil, uint32(7)), nil, nil, osctld, ""},
		{"the bus knows nothing", reply(nil, nil), nil, nil, osctld, ""},
		{"user of another type", reply("0", uint32(7)), nil, nil, osctld, ""},
		{"a unit with invalid text", reply(uint32(0), uint32(7)), nil, nil, &process{unit: "a\xff\n.service", uids: []uint32{0}}, `a\xff\x0a.service`},
		{"a unit as systemd escapes it", reply(uint32(0), uint32(7)), nil, nil, &process{unit: `a\x2db.service`, uids: []uint32{0}}, `a\x2db.service`},
		{"left before", nil, gone, gone, osctld, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			answers := []error{test.first, test.second}
			peer := &Peer{Name: ":1.5"}
			err := identify(peer, func() (map[string]dbus.Variant, error) {
				err := answers[0]
				answers = answers[1:]
				return test.reply, err
			}, func(pid uint32) *process {
				if pid != 7 || len(answers) != 1 {
					t.Errorf("inspected process %d after %d questions", pid, 2-len(answers))
				}
				return test.process
			})
			if peer.Source != test.want || peer.Known != (test.want != "") || (err == nil) != peer.Known {
				t.Errorf("peer is %+v, %v, want source %q", peer, err, test.want)
			}
			if uid, ok := test.reply["UnixUserID"].Value().(uint32); ok && peer.UID != uid {
				t.Errorf("peer is user %d, want %d", peer.UID, uid)
			}
			if test.first != nil && !errors.As(err, &gone) {
				t.Error("error is", err)
			}
		})
	}
}

func TestInspectProcess(t *testing.T) {
	p := inspectProcess(uint32(os.Getpid()))
	uid := uint32(os.Getuid())
	if p == nil || !slices.Equal(p.uids, []uint32{uid, uid, uid, uid}) || p.unit != UnitOf(uint32(os.Getpid())) {
		t.Errorf("this process is %+v", p)
	}
	if p := inspectProcess(1 << 30); p != nil {
		t.Errorf("a missing process is %+v", p)
	}
}
