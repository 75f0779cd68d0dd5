package bustest

import (
	"context"
	"strings"
	"testing"
)

const (
	accessDenied = "org.freedesktop.DBus.Error.AccessDenied"
	eventd       = "org.osctl.Eventd"
	eventdPath   = "/org/osctl/Eventd"
)

// requestName requests the service's name, without queueing for it.
func requestName(t *testing.T, c *Client) error {
	t.Helper()
	const doNotQueue, primaryOwner = 4, 1
	reply, err := c.CallDriver(bounded(t), "RequestName", "su", new(Body).String(eventd).Uint32(doNotQueue))
	if err != nil {
		return err
	}
	if got := firstUint32(reply); got != primaryOwner {
		t.Fatal("RequestName:", got)
	}
	return nil
}

// startService returns a client of root that owns the service's name.
func startService(t *testing.T, b *Bus) *Client {
	t.Helper()
	c := b.ClientAs(t, 0)
	if err := requestName(t, c); err != nil {
		t.Fatal("RequestName:", err)
	}
	return c
}

// answerCalls answers the calls to a client, each with its member.
func answerCalls(t *testing.T, c *Client) {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			m, err := c.Receive(context.Background())
			if err != nil {
				return
			}
			if m.Type != TypeCall {
				continue
			}
			answer := &Message{
				Type: TypeReturn, Serial: c.NextSerial(), ReplySerial: m.Serial, Destination: m.Sender,
				Signature: "s", Body: new(Body).String(m.Member).Bytes(),
			}
			if c.Send(context.Background(), answer.Marshal()) != nil {
				return
			}
		}
	}()
}

func TestCallsByPolicy(t *testing.T) {
	const properties, introspectable, peer = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Peer"
	type call struct {
		uid     uint32
		iface   string
		allowed bool
	}
	for _, tc := range []struct {
		name   string
		policy string
		calls  []call
	}{
		{"open", PolicyOpen, []call{{0, eventd, true}, {NobodyUID, eventd, true}, {NobodyUID, properties, true}}},
		{"root only", PolicyRootOnly, []call{
			{0, eventd, true},
			{NobodyUID, eventd, false},
			{NobodyUID, properties, false},
			{NobodyUID, introspectable, true},
			{NobodyUID, peer, true},
		}},
		{"default", `<policy user="root"><allow own="` + eventd + `"/></policy>`, []call{
			{0, eventd, false},
			{NobodyUID, eventd, false},
		}},
		{"a whole document", doctype + "<busconfig>" + PolicyOpen + "</busconfig>", []call{{NobodyUID, eventd, true}}},
	} {
		eachKind(t, func(t *testing.T, kind Kind) {
			b := Start(t, kind, tc.policy)
			answerCalls(t, startService(t, b))
			for _, call := range tc.calls {
				reply, err := b.ClientAs(t, call.uid).Call(bounded(t), MethodCall(eventd, eventdPath, call.iface, "Member"))
				if !call.allowed {
					if ErrorName(err) != accessDenied {
						t.Errorf("%s: uid %d on %s: %v, want AccessDenied", tc.name, call.uid, call.iface, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: uid %d on %s: %v", tc.name, call.uid, call.iface, err)
				} else if got, err := reply.FirstString(); got != "Member" || err != nil {
					t.Errorf("%s: the service answered %q, %v", tc.name, got, err)
				}
			}
		})
	}
}

func TestOwnByPolicy(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		if err := requestName(t, Start(t, kind).ClientAs(t, 0)); ErrorName(err) != accessDenied {
			t.Errorf("root, default policy: %v, want AccessDenied", err)
		}
		for _, policy := range []string{PolicyOpen, PolicyRootOnly} {
			b := Start(t, kind, policy)
			if err := requestName(t, b.ClientAs(t, NobodyUID)); ErrorName(err) != accessDenied {
				t.Errorf("nobody: %v, want AccessDenied", err)
			}
		}
	})
}

// receives reports whether a client received a signal with the given member. The bus
// has answered a later call, so it has sent all signals.
func receives(t *testing.T, c *Client, member string) bool {
	t.Helper()
	if _, err := c.CallDriver(bounded(t), "GetId", "", nil); err != nil {
		t.Fatal("GetId:", err)
	}
	for {
		select {
		case m := <-c.queue:
			if m.Type == TypeSignal && m.Member == member {
				return true
			}
		default:
			return false
		}
	}
}

func TestSignalsByPolicy(t *testing.T) {
	for _, tc := range []struct {
		policy         string
		nobodyReceives bool
		nobodySends    bool
	}{{PolicyOpen, true, true}, {PolicyRootOnly, false, false}} {
		eachKind(t, func(t *testing.T, kind Kind) {
			b := Start(t, kind, tc.policy)
			service, root, nobody := startService(t, b), b.ClientAs(t, 0), b.ClientAs(t, NobodyUID)
			for _, c := range []*Client{root, nobody} {
				rule := new(Body).String("type='signal',interface='" + eventd + "'")
				if _, err := c.CallDriver(bounded(t), "AddMatch", "s", rule); err != nil {
					t.Fatal("AddMatch:", err)
				}
			}
			signal := &Message{Type: TypeSignal, Serial: 1000, Path: eventdPath, Interface: eventd, Member: "Event"}
			if err := service.Send(bounded(t), signal.Marshal()); err != nil {
				t.Fatal(err)
			}
			receives(t, service, "") // the bus has passed it on by then
			if !receives(t, root, "Event") {
				t.Error("root received no signal")
			}
			if got := receives(t, nobody, "Event"); got != tc.nobodyReceives {
				t.Errorf("nobody received a signal: %v, want %v", got, tc.nobodyReceives)
			}

			signal.Member, signal.Destination = "Unicast", service.Name()
			if err := nobody.Send(bounded(t), signal.Marshal()); err != nil {
				t.Fatal(err)
			}
			receives(t, nobody, "")
			if got := receives(t, service, "Unicast"); got != tc.nobodySends {
				t.Errorf("the service received a signal of nobody: %v, want %v", got, tc.nobodySends)
			}
		})
	}
}

func TestMalformedPolicyFailsTheTest(t *testing.T) {
	msg := fatal(t, func(tb testing.TB) { Start(tb, Daemon, PolicyOpen, `<policy user="root">`) })
	if !strings.Contains(msg, "policy 1: XML syntax error") {
		t.Errorf("got %q", msg)
	}
}
