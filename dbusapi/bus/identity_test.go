package bus

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/wire"
)

// TestIdentify plays the bus and the kernel: nobody gets the name of a unit that may be
// another's.
func TestIdentify(t *testing.T) {
	said := func(uid, pid any) map[string]dbus.Variant {
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
		name   string
		said   map[string]dbus.Variant
		first  error // to the first question, before the process is looked at
		second error // to the second one
		look   *process
		want   string // source; "" if it stays unknown
	}{
		{"a service", said(uint32(0), uint32(7)), nil, nil, osctld, "osctld.service"},
		{"a process in no unit", said(uint32(5), uint32(7)), nil, nil, &process{uids: []uint32{5, 5, 5, 5}}, "uid:5"},
		{"a service that changed its user", said(uint32(0), uint32(7)), nil, nil, &process{unit: "a.service", uids: []uint32{5, 5, 0, 5}}, "a.service"},
		{"left while the process was looked at, its number is used again", said(uint32(0), uint32(7)), nil, gone, osctld, "uid:0"},
		{"handed on, and the number is used again", said(uint32(5), uint32(7)), nil, nil, osctld, "uid:5"},
		{"the process is gone", said(uint32(5), uint32(7)), nil, nil, nil, "uid:5"},
		{"the bus knows no process", said(uint32(5), nil), nil, nil, osctld, "uid:5"},
		{"the bus knows no user", said(nil, uint32(7)), nil, nil, osctld, ""},
		{"the bus knows nothing", said(nil, nil), nil, nil, osctld, ""},
		{"user of another type", said("0", uint32(7)), nil, nil, osctld, ""},
		{"a unit that is no text", said(uint32(0), uint32(7)), nil, nil, &process{unit: "a\xff\n.service", uids: []uint32{0}}, `a\xff\x0a.service`},
		{"a unit as systemd escapes it", said(uint32(0), uint32(7)), nil, nil, &process{unit: `a\x2db.service`, uids: []uint32{0}}, `a\x2db.service`},
		{"left before", nil, gone, gone, osctld, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			answers := []error{test.first, test.second}
			peer := &Peer{Name: ":1.5"}
			err := identify(peer, func() (map[string]dbus.Variant, error) {
				err := answers[0]
				answers = answers[1:]
				return test.said, err
			}, func(pid uint32) *process {
				if pid != 7 || len(answers) != 1 {
					t.Errorf("looked at process %d after %d questions", pid, 2-len(answers))
				}
				return test.look
			})
			if peer.Source != test.want || peer.Known != (test.want != "") || (err == nil) != peer.Known {
				t.Errorf("peer is %+v, %v, want source %q", peer, err, test.want)
			}
			if uid, ok := test.said["UnixUserID"].Value().(uint32); ok && peer.UID != uid {
				t.Errorf("peer is user %d, want %d", peer.UID, uid)
			}
			if test.first != nil && !errors.As(err, &gone) {
				t.Error("error is", err)
			}
		})
	}
}

func TestLook(t *testing.T) {
	p := look(uint32(os.Getpid()))
	uid := uint32(os.Getuid())
	if p == nil || !slices.Equal(p.uids, []uint32{uid, uid, uid, uid}) || p.unit != UnitOf(uint32(os.Getpid())) {
		t.Errorf("this process is %+v", p)
	}
	if p := look(1 << 30); p != nil {
		t.Errorf("a process that is not there is %+v", p)
	}
}
