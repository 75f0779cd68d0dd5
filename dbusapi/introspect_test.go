package dbusapi

import (
	"encoding/xml"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/packaging"
)

type xmlArg struct {
	Name      string `xml:"name,attr"`
	Type      string `xml:"type,attr"`
	Direction string `xml:"direction,attr"`
}

type xmlMember struct {
	Name        string   `xml:"name,attr"`
	Type        string   `xml:"type,attr"`
	Access      string   `xml:"access,attr"`
	Args        []xmlArg `xml:"arg"`
	Annotations []struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	} `xml:"annotation"`
}

type xmlInterface struct {
	Name       string      `xml:"name,attr"`
	Methods    []xmlMember `xml:"method"`
	Signals    []xmlMember `xml:"signal"`
	Properties []xmlMember `xml:"property"`
}

type xmlNode struct {
	Name       string         `xml:"name,attr"`
	Interfaces []xmlInterface `xml:"interface"`
	Nodes      []xmlNode      `xml:"node"`
}

func (m *xmlMember) signature(direction string) string {
	var sig strings.Builder
	for _, arg := range m.Args {
		if arg.Direction == direction {
			sig.WriteString(arg.Type)
		}
	}
	return sig.String()
}

func parseXML(t *testing.T, text string) xmlNode {
	t.Helper()
	var node xmlNode
	if err := xml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	return node
}

// theInterface returns the only interface of the installed document.
func theInterface(t *testing.T) xmlInterface {
	t.Helper()
	all := parseXML(t, packaging.Interface).Interfaces
	if len(all) != 1 || all[0].Name != wire.Interface {
		t.Fatalf("the installed document describes %d interfaces, want %s alone", len(all), wire.Interface)
	}
	return all[0]
}

func TestDocumentedMethods(t *testing.T) {
	left := methods()
	for _, i := range parseXML(t, document()).Interfaces {
		for _, m := range i.Methods {
			served, has := left[i.Name][m.Name]
			if !has || served.in != m.signature("in") || served.out != m.signature("out") {
				t.Errorf("%s.%s is documented as %q -> %q, served as %q -> %q", i.Name, m.Name, m.signature("in"), m.signature("out"), served.in, served.out)
			}
			delete(left[i.Name], m.Name)
		}
	}
	for name, members := range left {
		for member := range members {
			t.Errorf("%s.%s is not documented", name, member)
		}
	}
}

func TestDocumentedSignals(t *testing.T) {
	want := map[string]string{"Event": wire.EventType, "Lapped": "tt"}
	got := map[string]string{}
	for _, s := range theInterface(t).Signals {
		got[s.Name] = s.signature("")
	}
	if !maps.Equal(got, want) {
		t.Errorf("signals are documented as %v, want %v", got, want)
	}
}

func TestDocumentedProperties(t *testing.T) {
	service, err := New(Config{Hub: apitest.NewHub(t, hub.Config{}), Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	var documented, served []string
	for _, p := range theInterface(t).Properties {
		documented = append(documented, p.Name+" "+p.Type)
		want := "true"
		switch {
		case p.Name == "Version" || p.Name == "StartTime":
			want = "const"
		case changesWithEvents(p.Name):
			want = "invalidates"
		}
		if p.Access != "read" || len(p.Annotations) == 0 || p.Annotations[0].Name != "org.freedesktop.DBus.Property.EmitsChangedSignal" || p.Annotations[0].Value != want {
			t.Errorf("property %s is documented with access %s, %v", p.Name, p.Access, p.Annotations)
		}
	}
	for _, p := range service.properties() {
		served = append(served, p.Name+" "+p.Value.Type())
	}
	if !slices.Equal(documented, served) {
		t.Errorf("documented are %v, served %v", documented, served)
	}
}

// The installed document meets the needs of generators of code and pages: the arguments of a member have
// distinct names and a comment each, and types that Qt has no name for have an annotation.
func TestDocumentForGenerators(t *testing.T) {
	i := theInterface(t)
	for _, m := range slices.Concat(i.Methods, i.Signals) {
		_, comment, ok := strings.Cut(packaging.Interface, "\n      "+m.Name+":\n")
		comment, _, _ = strings.Cut(comment, "-->")
		if !ok {
			t.Errorf("%s has no comment", m.Name)
		}
		var names, documented []string
		for _, a := range m.Args {
			if slices.Contains(names, a.Name) {
				t.Errorf("%s has two arguments %s", m.Name, a.Name)
			}
			names = append(names, a.Name)
		}
		for line := range strings.Lines(comment) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "@"); ok {
				name, _, _ = strings.Cut(name, ": ")
				documented = append(documented, name)
			}
		}
		if !slices.Equal(names, documented) {
			t.Errorf("arguments of %s are %v, documented are %v", m.Name, names, documented)
		}
		in, out := 0, 0
		for _, a := range m.Args {
			n, direction := &out, "Out"
			if a.Direction == "in" {
				n, direction = &in, "In"
			}
			wantQtName(t, &m, a.Type, "."+direction+strconv.Itoa(*n))
			*n++
		}
	}
	for _, p := range i.Properties {
		wantQtName(t, &p, p.Type, "")
	}
}

// wantQtName checks the annotation with the Qt type of an argument or property, unless qdbusxml2cpp knows
// its type.
func wantQtName(t *testing.T, m *xmlMember, typ, suffix string) {
	t.Helper()
	named := false
	for _, a := range m.Annotations {
		named = named || a.Name == "org.qtproject.QtDBus.QtTypeName"+suffix && a.Value != ""
	}
	if known := len(typ) == 1 || typ == "as"; named == known {
		t.Errorf("%s: type %s has a Qt name: %v", m.Name, typ, named)
	}
}

// The document has the full name of each error of the service.
func TestDocumentedErrors(t *testing.T) {
	for _, name := range documentedErrors() {
		if !strings.Contains(packaging.Interface, "\n    - "+name+": ") {
			t.Errorf("the document does not describe the error %s", name)
		}
	}
}

func TestIntrospect(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		c := bus.ClientAs(t, bustest.NobodyUID)
		introspect := func(path string) string {
			t.Helper()
			text, err := apitest.OK(t, c, bustest.MethodCall(wire.Name, path, "org.freedesktop.DBus.Introspectable", "Introspect")).FirstString()
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		if got := introspect(wire.Path); got != document() || parseXML(t, got).Name != wire.Path {
			t.Errorf("Introspect returns another document: %s", got)
		}
		for path, child := range map[string]string{"/": "org", "/org": "osctl", "/org/osctl": "Eventd"} {
			node := parseXML(t, introspect(path))
			if len(node.Nodes) != 1 || node.Nodes[0].Name != child || len(node.Interfaces) != 0 {
				t.Errorf("%s has %+v, want the child %s", path, node, child)
			}
		}
		text, err := apitest.OK(t, c, bustest.MethodCall(wire.Name, "/", "", "Introspect")).FirstString()
		if err != nil || text != introspect("/") {
			t.Errorf("without interface: %q, %v", text, err)
		}
		for _, path := range []string{"/or", "/org/osctl/Eventd/x", "/x"} {
			_, err := c.Call(apitest.Bounded(t), bustest.MethodCall(wire.Name, path, "org.freedesktop.DBus.Introspectable", "Introspect"))
			apitest.WantError(t, err, wire.ErrUnknownObject)
		}
	})
}

func TestPeer(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		c := bus.ClientAs(t, bustest.NobodyUID)
		for _, path := range []string{wire.Path, "/", "/any"} {
			for _, iface := range []string{"org.freedesktop.DBus.Peer", ""} {
				if m := apitest.OK(t, c, bustest.MethodCall(wire.Name, path, iface, "Ping")); m.Signature != "" || len(m.Body) != 0 {
					t.Errorf("Ping was answered with %q", m.Signature)
				}
			}
		}
		reply, err := c.Call(apitest.Bounded(t), bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "GetMachineId"))
		id, readErr := os.ReadFile("/etc/machine-id")
		if readErr != nil {
			id, readErr = os.ReadFile("/var/lib/dbus/machine-id")
		}
		if readErr != nil {
			apitest.WantError(t, err, wire.ErrFailed)
			return
		}
		if got, _ := reply.FirstString(); err != nil || got != strings.TrimSpace(string(id)) {
			t.Errorf("GetMachineId = %q, %v", got, err)
		}
	})
}

func propertyCall(member, signature string, args ...string) *bustest.Message {
	b := new(bustest.Body)
	for _, arg := range args {
		b.String(arg)
	}
	m := bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Properties", member)
	m.Signature, m.Body = signature, b.Bytes()
	return m
}

func TestProperties(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{History: 4})
		apitest.Commit(t, h, 5, "state", "pool", "tank", "id", "101", "state", "running")
		apitest.Commit(t, h, 1, "state", "pool", "tank", "id", "102", "state", "stopped")
		if _, err := h.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: hub.Interface{Ifindex: 7}}}}); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		s := serveWith(t, Config{Hub: h, Address: bus.Address(), Missing: func() []string {
			return []string{"CAP_NET_ADMIN: names inside containers are not known"}
		}})
		if s.started.Before(before) || s.started.After(time.Now()) {
			t.Errorf("started at %v, made after %v", s.started, before)
		}
		c := bus.ClientAs(t, bustest.NobodyUID)
		want := map[string]hub.Value{
			"StartTime": hub.Uint64(hub.Micros(s.started)),
			"Version":   hub.String("1.2.3"), "Epoch": hub.String(apitest.Epoch(h)), "LastSequence": hub.Uint64(6),
			"OldestSequence": hub.Uint64(3), "Cursor": hub.String(hub.FormatCursor(apitest.Epoch(h), 6)),
			"InterfaceCount": hub.Uint32(1), "InterfacesRevision": hub.Uint64(h.InterfacesRevision()), "ContainerCount": hub.Uint32(1), "Durable": hub.Bool(false), "LogProblem": hub.String(""),
			"Counters": hub.Dict("s", "t", []hub.Value{
				hub.String("bus_losses"), hub.Uint64(0), hub.String("calls_over_limit"), hub.Uint64(0), hub.String("events_state"), hub.Uint64(6),
				hub.String("lapped"), hub.Uint64(0), hub.String("messages_ignored"), hub.Uint64(0), hub.String("netlink_overruns"), hub.Uint64(0),
				hub.String("reports_refused"), hub.Uint64(0), hub.String("resyncs"), hub.Uint64(0),
			}),
			"Missing": hub.Strings("CAP_NET_ADMIN: names inside containers are not known"),
		}
		for _, name := range []string{wire.Interface, ""} {
			all := apitest.Body(apitest.OK(t, c, propertyCall("GetAll", "s", name))).Value("a{sv}", 8).Items()
			if len(all) != 2*len(want) {
				t.Errorf("GetAll of %q has %d entries", name, len(all)/2)
			}
			for i := 0; i+1 < len(all); i += 2 {
				wantValue(t, all[i].Text(), all[i+1].Items()[0], want[all[i].Text()])
			}
			for property, value := range want {
				wantValue(t, property, apitest.Body(apitest.OK(t, c, propertyCall("Get", "ss", name, property))).Value("v", 8).Items()[0], value)
			}
		}
		if all := apitest.Body(apitest.OK(t, c, propertyCall("GetAll", "s", "org.freedesktop.DBus.Peer"))).Value("a{sv}", 8); len(all.Items()) != 0 {
			t.Error("Peer has properties")
		}
	})
}

func wantValue(t *testing.T, what string, got, want hub.Value) {
	t.Helper()
	var a, b wire.Encoder
	a.Variant(got)
	b.Variant(want)
	if !slices.Equal(a.Bytes, b.Bytes) {
		t.Errorf("%s is %s %q, want %s %q", what, got.Type(), a.Bytes, want.Type(), b.Bytes)
	}
}

func TestWrongCalls(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := bus.ClientAs(t, 0)
		set := func(iface, property string) *bustest.Message {
			b := new(bustest.Body).String(iface).String(property).Variant("s", func(b *bustest.Body) { b.String("x") })
			m := propertyCall("Set", "ssv")
			m.Body = b.Bytes()
			return m
		}
		elsewhere := apitest.ReportCall("x")
		elsewhere.Path = "/org/osctl"
		for _, test := range []struct {
			call *bustest.Message
			want string
		}{
			{propertyCall("Get", "ss", wire.Interface, "Colour"), wire.ErrUnknownProperty},
			{propertyCall("Get", "ss", "org.example", "Version"), wire.ErrUnknownInterface},
			{propertyCall("GetAll", "s", "org.example"), wire.ErrUnknownInterface},
			{propertyCall("Get", "s", wire.Interface), wire.ErrInvalidArgs},
			{set(wire.Interface, "Version"), wire.ErrReadOnly},
			{set(wire.Interface, "Colour"), wire.ErrUnknownProperty},
			{set("org.example", "Version"), wire.ErrUnknownInterface},
			{bustest.MethodCall(wire.Name, wire.Path, wire.Interface, "Dance"), wire.ErrUnknownMethod},
			{bustest.MethodCall(wire.Name, wire.Path, "", "Dance"), wire.ErrUnknownMethod},
			{bustest.MethodCall(wire.Name, wire.Path, "org.example", "Report"), wire.ErrUnknownInterface},
			{elsewhere, wire.ErrUnknownObject},
			{apitest.MethodCall("Report", "s", new(bustest.Body).String("x")), wire.ErrInvalidArgs},
			{apitest.MethodCall("Report", "", nil), wire.ErrInvalidArgs},
			{apitest.MethodCall("WaitEvents", "sa{sv}u", new(bustest.Body).String("").Dict().Uint32(0)), wire.ErrInvalidArgs},
		} {
			_, err := c.Call(apitest.Bounded(t), test.call)
			if bustest.ErrorName(err) != test.want {
				t.Errorf("%s.%s %q: %v, want %s", test.call.Interface, test.call.Member, test.call.Signature, err, test.want)
			}
		}
		if s := h.Status(); s.Last != 0 {
			t.Error("a wrong call made an event")
		}
		if n := h.Counters()[hub.CounterRefused]; n != 3 {
			t.Errorf("counted %d refused reports, want 3", n)
		}
		apitest.OK(t, c, methodCallWithoutInterface("Report", "sa{sv}", new(bustest.Body).String("x").Dict()))
	})
}

func methodCallWithoutInterface(member, signature string, body *bustest.Body) *bustest.Message {
	m := apitest.MethodCall(member, signature, body)
	m.Interface = ""
	return m
}
