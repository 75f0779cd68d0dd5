package dbusapi

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
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
	gone := dbus.Error{Name: errNameHasNoOwner}
	osctld := &process{unit: "osctld.service", uids: []uint32{0, 0, 0, 0}}
	for _, test := range []struct {
		name   string
		said   map[string]dbus.Variant
		first  error // to the first question, before the process is looked at
		second error // to the second one
		look   *process
		want   string
	}{
		{"a service", said(uint32(0), uint32(7)), nil, nil, osctld, "osctld.service"},
		{"a process in no unit", said(uint32(5), uint32(7)), nil, nil, &process{uids: []uint32{5, 5, 5, 5}}, "uid:5"},
		{"a service that changed its user", said(uint32(0), uint32(7)), nil, nil, &process{unit: "a.service", uids: []uint32{5, 5, 0, 5}}, "a.service"},
		{"left while the process was looked at, its number is used again", said(uint32(0), uint32(7)), nil, gone, osctld, "uid:0"},
		{"handed on, and the number is used again", said(uint32(5), uint32(7)), nil, nil, osctld, "uid:5"},
		{"the process is gone", said(uint32(5), uint32(7)), nil, nil, nil, "uid:5"},
		{"the bus knows no process", said(uint32(5), nil), nil, nil, osctld, "uid:5"},
		{"the bus knows no user", said(nil, uint32(7)), nil, nil, osctld, sourceUnknown},
		{"the bus knows nothing", said(nil, nil), nil, nil, osctld, sourceUnknown},
		{"user of another type", said("0", uint32(7)), nil, nil, osctld, sourceUnknown},
		{"left before", nil, gone, gone, osctld, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			answers := []error{test.first, test.second}
			who, err := identify(":1.5", func() (map[string]dbus.Variant, error) {
				err := answers[0]
				answers = answers[1:]
				return test.said, err
			}, func(pid uint32) *process {
				if pid != 7 || len(answers) != 1 {
					t.Errorf("looked at process %d after %d questions", pid, 2-len(answers))
				}
				return test.look
			})
			switch {
			case test.want == "":
				if !errors.As(err, &gone) {
					t.Error("error is", err)
				}
			case err != nil || who.source != test.want || who.name != ":1.5":
				t.Errorf("caller is %+v, %v, want source %s", who, err, test.want)
			}
		})
	}
}

func TestLook(t *testing.T) {
	p := look(uint32(os.Getpid()))
	uid := uint32(os.Getuid())
	if p == nil || !slices.Equal(p.uids, []uint32{uid, uid, uid, uid}) || p.unit != unitOf(uint32(os.Getpid())) {
		t.Errorf("this process is %+v", p)
	}
	if p := look(1 << 30); p != nil {
		t.Errorf("a process that is not there is %+v", p)
	}
}

// A sender that leaves is served before it is forgotten: what it sent last may be to
// report something. Its waits end.
func TestSenderThatLeaves(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		s := serve(t, bus, h)
		watcher := bus.ClientAs(t, 0)
		leaver := openStream(t, bus, bustest.NobodyUID)
		// Nothing is asked of the bus as long as this is held: not who reports, either.
		out := s.current.Load().callers.conn.out
		out.mu.Lock()
		for i := range uint32(30) {
			m := reportCall("left")
			m.Flags = bustest.FlagNoReply
			if i%10 == 9 {
				m = waitCall("", MaxTimeout, "type", "never")
			}
			m.Serial = i + 1
			leaver.send(t, m)
		}
		_ = leaver.Close()
		eventually(t, "the reporter left", func() bool {
			_, err := watcher.CallDriver(bounded(t), "GetNameOwner", "s", new(bustest.Body).String(leaver.name))
			return bustest.ErrorName(err) == errNameHasNoOwner
		})
		// The bus said so to the service, too, before it passed this on.
		_, err := watcher.Call(bounded(t), bustest.MethodCall(Name, Path, "org.freedesktop.DBus.Peer", "Ping"))
		out.mu.Unlock()
		if err != nil {
			t.Fatal("another client, meanwhile:", err)
		}
		eventually(t, "all that it reported is taken", func() bool { return h.Counters()["events_left"] == 27 })
		early := time.After(soon)
		for pending := true; pending; {
			select {
			case <-early:
				t.Fatal("somebody who left still waits")
			case <-time.After(time.Millisecond):
				ws := s.current.Load().waits
				ws.mu.Lock()
				pending = ws.all > 0
				ws.mu.Unlock()
			}
		}
	})
}
