package boottest

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

const (
	accessDenied = "org.freedesktop.DBus.Error.AccessDenied"
	properties   = "org.freedesktop.DBus.Properties"
)

// deeds are what one may do with the service, each a call that it would answer.
func deeds() map[string]*bustest.Message {
	call := func(iface, member, signature string, body *bustest.Body) *bustest.Message {
		m := bustest.MethodCall(service, object, iface, member)
		if body != nil {
			m.Signature, m.Body = signature, body.Bytes()
		}
		return m
	}
	body := func() *bustest.Body { return new(bustest.Body) }
	return map[string]*bustest.Message{
		"Introspect":     call("org.freedesktop.DBus.Introspectable", "Introspect", "", nil),
		"Ping":           call("org.freedesktop.DBus.Peer", "Ping", "", nil),
		"Get":            call(properties, "Get", "ss", body().String(service).String("Version")),
		"GetAll":         call(properties, "GetAll", "s", body().String(service)),
		"WaitEvents":     call(service, "WaitEvents", "sa{sv}uu", body().String("oldest").Dict().Uint32(1).Uint32(0)),
		"ListInterfaces": call(service, "ListInterfaces", "a{sv}", body().Dict()),
		"ListContainers": call(service, "ListContainers", "a{sv}", body().Dict()),
		"Report":         call(service, "Report", "sa{sv}", body().String("probe").Dict("by", "deed")),
		"ReportBatch":    call(service, "ReportBatch", "a(sa{sv})", body().Array(8, func(*bustest.Body) {})),
	}
}

// nobodys are calls that nobody but root may even try: members of the service's
// interfaces that are neither for reading nor for reporting, and watching the bus.
func nobodys() map[string]*bustest.Message {
	set := bustest.MethodCall(service, object, properties, "Set")
	set.Signature = "ssv"
	set.Body = new(bustest.Body).String(service).String("Version").Variant("s", func(b *bustest.Body) { b.String("2") }).Bytes()
	watch := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, "org.freedesktop.DBus.Monitoring", "BecomeMonitor")
	watch.Signature, watch.Body = "asu", new(bustest.Body).Array(4, func(*bustest.Body) {}).Uint32(0).Bytes()
	return map[string]*bustest.Message{
		"Set":             set,
		"GetMachineId":    bustest.MethodCall(service, object, "org.freedesktop.DBus.Peer", "GetMachineId"),
		"a future method": bustest.MethodCall(service, object, service, "Forget"),
		// Whose interface the service would have to guess.
		"Report without an interface": bustest.MethodCall(service, object, "", "Report"),
		"BecomeMonitor":               watch,
	}
}

// Sets of deeds. signals stands for receiving them.
var (
	looking   = []string{"Introspect", "Ping", "Get", "GetAll"}
	reading   = []string{"WaitEvents", "ListInterfaces", "ListContainers", "signals"}
	reporting = []string{"Report", "ReportBatch"}
)

// rights are who may do what, by uid.
type rights map[uint32][]string

// closed is what holds without drop-ins.
func closed() rights {
	return rights{
		0:           slices.Concat(looking, reading, reporting),
		memberUID:   slices.Concat(looking, reading),
		userUID:     looking,
		reporterUID: looking,
	}
}

// TestRights wants everybody to have the rights that they should have, and no others,
// without drop-ins and with each of the examples.
func TestRights(t *testing.T) {
	eachBus(t, func(t *testing.T, s *system) {
		checkRights(t, s, "closed", closed())
		shown := s.run("setpriv", "--reuid="+strconv.Itoa(userUID), "--clear-groups", "busctl", "introspect", service, object)
		if !strings.Contains(shown, ".WaitEvents") || !strings.Contains(shown, `"`+firstVersion+`"`) {
			t.Errorf("busctl shows an ordinary user %s", shown)
		}

		open := closed()
		for uid := range open {
			open[uid] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(open[uid], reading))))
		}
		withDropIn(s, "open-reading.conf", func() { checkRights(t, s, "open-reading.conf", open) })

		reporter := closed()
		reporter[reporterUID] = slices.Concat(looking, reporting)
		withDropIn(s, "reporter.conf", func() { checkRights(t, s, "reporter.conf", reporter) })

		checkRights(t, s, "closed again", closed())
	})
}

// withDropIn does something while an example is used as its comment says.
func withDropIn(s *system, example string, do func()) {
	s.t.Helper()
	const dir = "/etc/dbus-1/system.d/"
	text := s.run("cat", "/usr/share/doc/osctl-eventd/examples/"+example)
	_, command, ok := strings.Cut(text, "install -m 644 ")
	command, _, _ = strings.Cut(command, "\n")
	if !ok || !strings.HasPrefix(command, example+" "+dir) {
		s.t.Fatalf("%s does not say how to install it: %q", example, command)
	}
	s.shell("cd /usr/share/doc/osctl-eventd/examples; install -m 644 " + command)
	s.run("systemctl", "reload", "dbus")
	do()
	s.run("rm", strings.Fields(command)[1])
	s.run("systemctl", "reload", "dbus")
}

// checkRights tries everything as everybody.
func checkRights(t *testing.T, s *system, state string, want rights) {
	t.Helper()
	clients := map[uint32]*bustest.Client{}
	for uid := range want {
		clients[uid] = s.client(uid)
		for _, deed := range looking { // and the service is there
			if _, err := clients[uid].Call(bounded(t), deeds()[deed]); err != nil {
				t.Errorf("%s: uid %d: %s: %v", state, uid, deed, err)
			}
		}
		if err := requestName(t, clients[uid]); bustest.ErrorName(err) != accessDenied {
			t.Errorf("%s: uid %d may own the name: %v", state, uid, err)
		}
		for name, m := range nobodys() {
			if uid == 0 {
				break
			}
			if _, err := clients[uid].Call(bounded(t), m); bustest.ErrorName(err) != accessDenied {
				t.Errorf("%s: uid %d may %s: %v", state, uid, name, err)
			}
		}
	}
	for uid, c := range clients {
		for deed, m := range deeds() {
			_, err := c.Call(bounded(t), m)
			switch may := slices.Contains(want[uid], deed); {
			case may && err != nil:
				t.Errorf("%s: uid %d may not %s: %v", state, uid, deed, err)
			case !may && bustest.ErrorName(err) != accessDenied:
				t.Errorf("%s: uid %d may %s: %v", state, uid, deed, err)
			}
		}
	}
	checkSignals(t, state, clients, want)
	checkUnicast(t, s, state, clients)
	for _, c := range clients {
		_ = c.Close()
	}
}

func requestName(t *testing.T, c *bustest.Client) error {
	t.Helper()
	const doNotQueue = 4
	_, err := c.CallDriver(bounded(t), "RequestName", "su", new(bustest.Body).String(service).Uint32(doNotQueue))
	return err
}

// checkSignals reports an event and looks who is told of it and of the properties that change
// with it. A signal that everybody may receive follows, so what did not come by then does not.
func checkSignals(t *testing.T, state string, clients map[uint32]*bustest.Client, want rights) {
	t.Helper()
	const barrier = "org.example.Barrier"
	for _, c := range clients {
		for _, iface := range []string{service, properties, barrier} {
			rule := "type='signal',interface='" + iface + "'"
			if _, err := c.CallDriver(bounded(t), "AddMatch", "s", new(bustest.Body).String(rule)); err != nil {
				t.Fatal("AddMatch:", err)
			}
		}
		// dbus-broker does not know this, and may say so.
		_, _ = c.CallDriver(bounded(t), "AddMatch", "s", new(bustest.Body).String("eavesdrop='true',interface='"+service+"'"))
	}
	root := clients[0]
	if _, err := root.Call(bounded(t), deeds()["Report"]); err != nil {
		t.Fatal("Report:", err)
	}
	// The bus has passed both on by then.
	if !slices.Contains(awaitSignal(t, root, properties), service) {
		awaitSignal(t, root, service)
	}
	signal := &bustest.Message{Type: bustest.TypeSignal, Serial: root.NextSerial(), Path: "/", Interface: barrier, Member: "Barrier"}
	must(t, root.Send(bounded(t), signal.Marshal()))
	for uid, c := range clients {
		got := awaitSignal(t, c, barrier)
		if uid == 0 {
			got = append(got, properties, service) // see above
		}
		for _, iface := range []string{service, properties} {
			if told, may := slices.Contains(got, iface), slices.Contains(want[uid], "signals"); told != may {
				t.Errorf("%s: uid %d receives signals of %s: %v, want %v", state, uid, iface, told, may)
			}
		}
	}
}

// awaitSignal receives until a signal of an interface comes, and returns the
// interfaces of those that came before.
func awaitSignal(t *testing.T, c *bustest.Client, iface string) []string {
	t.Helper()
	var before []string
	for {
		m, err := c.Receive(bounded(t))
		if err != nil {
			t.Fatalf("waiting for a signal of %s: %v", iface, err)
		}
		if m.Type == bustest.TypeSignal && m.Interface == iface {
			return before
		}
		before = append(before, m.Interface)
	}
}

// checkUnicast has everybody send signals and replies to the service, to its name and
// to its connection. It counts what it got and did not ask for.
func checkUnicast(t *testing.T, s *system, state string, clients map[uint32]*bustest.Client) {
	t.Helper()
	ignored := func() string {
		out := s.run("busctl", "get-property", service, object, service, "Counters")
		_, out, _ = strings.Cut(out, `"messages_ignored" `)
		out, _, _ = strings.Cut(out, " ")
		return out
	}
	reply, err := clients[0].CallDriver(bounded(t), "GetNameOwner", "s", new(bustest.Body).String(service))
	must(t, err)
	unique, err := reply.FirstString()
	must(t, err)
	before := ignored()
	for _, c := range clients {
		for _, destination := range []string{service, unique} {
			signal := &bustest.Message{
				Type: bustest.TypeSignal, Serial: c.NextSerial(), Path: object, Interface: service, Member: "Event", Destination: destination,
			}
			must(t, c.Send(bounded(t), signal.Marshal()))
			answer := &bustest.Message{Type: bustest.TypeReturn, Serial: c.NextSerial(), ReplySerial: 1, Destination: destination}
			must(t, c.Send(bounded(t), answer.Marshal()))
		}
		// What it sent has been dealt with when this is answered.
		if _, err := c.Call(bounded(t), deeds()["Ping"]); err != nil {
			t.Errorf("%s: Ping after unicast signals: %v", state, err)
		}
	}
	if after := ignored(); after != before {
		t.Errorf("%s: the service got messages that it did not ask for: %q, before %q", state, after, before)
	}
}
