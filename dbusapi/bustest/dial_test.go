package bustest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDialAsHasTheUID(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		b := Start(t, kind)
		uids := []uint32{0, 1, NobodyUID}
		if kind == Broker { // dbus-daemon wants to find them in a database
			uids = append(uids, 12345)
		}
		for _, uid := range uids {
			c := b.ClientAs(t, uid)
			reply, err := c.CallDriver(bounded(t), "GetConnectionUnixUser", "s", new(Body).String(c.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if got := firstUint32(reply); got != uid {
				t.Errorf("the bus says uid %d, want %d", got, uid)
			}
		}
	})
}

func TestWithGroups(t *testing.T) {
	const daemonGID = 1 // on every Debian
	policy := `<policy user="root"><allow own="` + eventd + `"/></policy>
		<policy group="daemon"><allow send_destination="` + eventd + `"/></policy>`
	eachKind(t, func(t *testing.T, kind Kind) {
		b := Start(t, kind, policy)
		answerCalls(t, startService(t, b))
		for _, tc := range []struct {
			name    string
			options []DialOption
			want    string
		}{
			{"no group", nil, accessDenied},
			{"group", []DialOption{WithGroups(daemonGID)}, ""},
			{"supplementary group", []DialOption{WithGroups(NobodyUID, 2, daemonGID)}, ""},
		} {
			_, err := b.ClientAs(t, NobodyUID, tc.options...).Call(bounded(t), MethodCall(eventd, "/", eventd, "M"))
			if ErrorName(err) != tc.want || tc.want == "" && err != nil {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
			}
		}
	})
}

// firstUint32 returns the first argument, which must be a u.
func firstUint32(m *Message) uint32 {
	return (&reader{buf: m.Body, order: orderOf(m.BigEndian)}).uint32()
}

func TestWithUnixFDs(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	eachKind(t, func(t *testing.T, kind Kind) {
		b := Start(t, kind)
		receiver := b.ClientAs(t, 0, WithUnixFDs())
		signal := &Message{
			Type: TypeSignal, Serial: 1000, Path: "/", Interface: "a.b", Member: "C", Destination: receiver.Name(),
			Signature: "h", UnixFDs: 1, Body: new(Body).Uint32(0).Bytes(),
		}
		with := b.ClientAs(t, NobodyUID, WithUnixFDs())
		if _, _, err := with.conn.WriteMsgUnix(signal.Marshal(), unix.UnixRights(int(w.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := receiver.Receive(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			if m.Member != "C" {
				continue
			}
			if m.UnixFDs != 1 || m.Signature != "h" || m.Sender != with.Name() {
				t.Errorf("received %+v", m)
			}
			break
		}

		without := b.ClientAs(t, NobodyUID)
		if _, _, err := without.conn.WriteMsgUnix(signal.Marshal(), unix.UnixRights(int(w.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-without.Done():
		case <-bounded(t).Done():
			t.Error("the bus took a descriptor that was not negotiated")
		}
	})
}

// The threads of DialAs, whose ids it changes, end, and the main thread is none of
// them.
func TestNoThreadIsLeftBehind(t *testing.T) {
	b := Start(t, Daemon)
	for range 50 {
		_ = b.DialAs(t, NobodyUID).Close()
		err := onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				t.Error("on the main thread")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all threads are root's", func() bool {
		statuses, _ := filepath.Glob("/proc/self/task/*/status")
		for _, status := range statuses {
			text, err := os.ReadFile(status)
			if err == nil && !strings.Contains(string(text), "\nUid:\t0\t0\t0\t0\n") {
				return false
			}
		}
		return len(statuses) > 0
	})
}

func TestAsNobody(t *testing.T) {
	b := Start(t, Daemon)
	cmd := AsNobody("/bin/sh", "-c", `id -u; id -G; test -w "${DBUS_SYSTEM_BUS_ADDRESS#unix:path=}" && echo reachable`)
	cmd.Env = b.Env()
	out, err := cmd.CombinedOutput()
	if want := "65534\n65534\nreachable\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

func TestCallRefusesASerialInUse(t *testing.T) {
	b := Start(t, Daemon)
	c := b.ClientAs(t, 0)
	reply := make(chan *Message, 1)
	if err := c.expect(500, reply); err != nil {
		t.Fatal(err)
	}
	call := MethodCall(DriverName, DriverPath, DriverName, "GetId")
	call.Serial = 500
	if _, err := c.Call(bounded(t), call); err == nil {
		t.Error("two calls with one serial")
	}
}
