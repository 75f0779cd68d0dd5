package hub

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// schemaCase describes one known type as events.md does, independently of the code.
type schemaCase struct {
	typ      string
	complete Options // all required options
	action   string  // of the event
	optional Options
	closed   map[string]string // expected text of errors by option with a closed list
	integers []string
	dicts    []string
	nonEmpty []string
	either   []string          // a string or an integer
	limited  map[string]string // expected text of errors by option of limited length
}

func opts(pairs ...any) Options {
	var o Options
	for i := 0; i < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		switch v := pairs[i+1].(type) {
		case string:
			o = append(o, opt(name, v))
		case Value:
			o = append(o, Option{name, v})
		default:
			panic(fmt.Sprintf("option of %T", v))
		}
	}
	return o
}

func schemaCases() []schemaCase {
	emptyDict := Dict("s", "v", nil)
	return []schemaCase{
		{
			typ: "management", complete: opts("id", Uint64(7), "cmd", "ct_start", "state", "run"), action: "run",
			optional: opts("opts", emptyDict), closed: map[string]string{"state": "one of run, done, failed"}, dicts: []string{"opts"}, either: []string{"id"},
		},
		{
			typ: "state", complete: opts("pool", "tank", "id", "101", "state", "running"), action: "running",
			optional: opts("init_pid", Int32(5)), either: []string{"init_pid"}, nonEmpty: []string{"pool", "id", "state"},
		},
		{
			typ: "db", complete: opts("object", "container", "pool", "tank", "id", "101", "action", "add"), action: "add",
			closed: map[string]string{"action": "one of add, remove"},
		},
		{
			typ: "ct_netif", complete: opts("pool", "tank", "id", "101", "action", "up", "name", "eth0"), action: "up",
			optional: opts("veth", "veth1"), closed: map[string]string{"action": "one of add, remove, rename, up, down"},
		},
		{
			typ:      "ct_netif",
			complete: opts("pool", "tank", "id", "101", "action", "rename", "name", "eth0", "new_name", "eth1"), action: "rename",
			optional: opts("veth", "veth1"), closed: map[string]string{"action": "one of add, remove, rename, up, down"},
		},
		{
			typ: "ct_init_pid", complete: opts("pool", "tank", "id", "101", "init_pid", Uint32(1)),
			integers: []string{"init_pid"},
		},
		{
			typ: "ct_scheduled", complete: opts("pool", "tank", "id", "101", "cpu_package_inuse", Int64(-1)),
			integers: []string{"cpu_package_inuse"},
		},
		{typ: "ct_exit", complete: opts("pool", "tank", "id", "101", "exit_type", "halt"), integers: []string{"exit_code"}, optional: opts("exit_code", Int32(137))},
		{
			typ: "ct_info", complete: opts("pool", "docker", "id", "4f", "name", "web"), nonEmpty: []string{"pool", "id"},
			optional: opts("image", "nginx", "labels", emptyDict), dicts: []string{"labels"},
			limited: map[string]string{"name": "a string (s) of 1 to 512 bytes", "image": "a string (s) of at most 4096 bytes"},
		},
		{
			typ: "ct_health", complete: opts("pool", "docker", "id", "4f", "health", "healthy"),
			nonEmpty: []string{"pool", "id", "health"},
		},
		{
			typ: "osctl_oomd", complete: opts("pool", "tank", "id", "101", "action", "restart", "time", Number(KindByte, 9)),
			integers: []string{"time"},
		},
		{typ: "osctld_shutdown"},
	}
}

func (c *schemaCase) expected(option string) string {
	switch {
	case c.closed[option] != "":
		return c.closed[option]
	case c.limited[option] != "":
		return c.limited[option]
	case slices.Contains(c.integers, option):
		return "an integer"
	case slices.Contains(c.dicts, option):
		return "a dict (a{sv})"
	case slices.Contains(c.either, option):
		return "a string (s) or an integer"
	case slices.Contains(c.nonEmpty, option):
		return "a string (s) that is not empty"
	default:
		return "a string (s)"
	}
}

// set returns a copy of o with one option set, or removed if v is invalid.
func set(o Options, name string, v Value) Options {
	var changed Options
	done := false
	for _, option := range o {
		if option.Name != name {
			changed = append(changed, option)
		} else if v.kind != KindInvalid {
			changed, done = append(changed, Option{name, v}), true
		}
	}
	if !done && v.kind != KindInvalid {
		changed = append(changed, Option{name, v})
	}
	return changed
}

// wantInvalid expects NewEvent to return exactly this error, and its message.
func wantInvalid(t *testing.T, typ string, o Options, want InvalidEventError) {
	t.Helper()
	e, err := NewEvent(typ, o, "uid:0")
	var invalid *InvalidEventError
	if e != nil || !errors.As(err, &invalid) {
		t.Errorf("%s %v: NewEvent = %v, %v, want an InvalidEventError", typ, o, e, err)
		return
	}
	if *invalid != want {
		t.Errorf("%s %v: error is %+v, want %+v", typ, o, *invalid, want)
	}
	message := fmt.Sprintf("event of type %q, option %q: got %s, expected %s", want.Type, want.Option, want.Got, want.Expected)
	if want.Got == "" {
		message = fmt.Sprintf("event of type %q, option %q: missing; expected %s", want.Type, want.Option, want.Expected)
	}
	if want.Option == "" {
		message = fmt.Sprintf("event type %q: got %s, expected %s", want.Type, want.Got, want.Expected)
	}
	if err.Error() != message {
		t.Errorf("message is %q, want %q", err, message)
	}
}

func TestSchemaAccepts(t *testing.T) {
	for _, c := range schemaCases() {
		for name, o := range map[string]Options{
			"complete":      c.complete,
			"with optional": append(set(c.complete, "", Value{}), c.optional...),
			"with extra":    append(set(c.complete, "", Value{}), Option{"extra-1", Bool(true)}),
		} {
			e, err := NewEvent(c.typ, o, "uid:0")
			if err != nil {
				t.Errorf("%s, %s: %v", c.typ, name, err)
				continue
			}
			if e.Type != c.typ || e.Action != c.action || e.Source != "uid:0" || e.Seq != 0 {
				t.Errorf("%s: made %+v", c.typ, e)
			}
			if len(e.Options) != len(o) {
				t.Errorf("%s, %s: kept %d options of %d", c.typ, name, len(e.Options), len(o))
			}
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	for _, c := range schemaCases() {
		for _, o := range c.complete {
			wantInvalid(t, c.typ, set(c.complete, o.Name, Value{}), InvalidEventError{c.typ, o.Name, "", c.expected(o.Name)})
		}
		for _, o := range append(set(c.complete, "", Value{}), c.optional...) {
			for _, wrong := range []Value{Bool(true), Number(KindDouble, 0), Strings("a"), Variant(o.Value), Path("/"), TypeOf("s"), Bytes("")} {
				wantInvalid(t, c.typ, set(c.complete, o.Name, wrong),
					InvalidEventError{c.typ, o.Name, fmt.Sprintf("a value of type %q", wrong.Type()), c.expected(o.Name)})
			}
			if o.Value.kind == KindString && !slices.Contains(c.either, o.Name) {
				wantInvalid(t, c.typ, set(c.complete, o.Name, Uint32(1)), InvalidEventError{c.typ, o.Name, `a value of type "u"`, c.expected(o.Name)})
			}
			if o.Value.Integer() && !slices.Contains(c.either, o.Name) || o.Value.kind == KindDict {
				wantInvalid(t, c.typ, set(c.complete, o.Name, String("1")), InvalidEventError{c.typ, o.Name, `a value of type "s"`, c.expected(o.Name)})
			}
		}
		for _, option := range c.nonEmpty {
			wantInvalid(t, c.typ, set(c.complete, option, String("")), InvalidEventError{c.typ, option, `""`, c.expected(option)})
		}
		for option, list := range c.closed {
			for _, wrong := range []string{"bogus", "", "UP", "ad", "add "} {
				wantInvalid(t, c.typ, set(c.complete, option, String(wrong)), InvalidEventError{c.typ, option, fmt.Sprintf("%q", wrong), list})
			}
		}
	}
}

func TestSchemaClosedLists(t *testing.T) {
	lists := map[string]map[string][]string{
		"management": {"state": {"run", "done", "failed"}},
		"db":         {"action": {"add", "remove"}},
		"ct_netif":   {"action": {"add", "remove", "rename", "up", "down"}},
	}
	for _, c := range schemaCases() {
		for option, values := range lists[c.typ] {
			for _, v := range values {
				o := set(c.complete, option, String(v))
				if v == "rename" {
					o = set(o, "new_name", String("eth1"))
				}
				if _, err := NewEvent(c.typ, o, ""); err != nil {
					t.Errorf("%s %s: %v", option, v, err)
				}
			}
		}
	}
}

func TestSchemaOpenLists(t *testing.T) {
	for _, state := range []string{
		"staged", "starting", "running", "stopping", "stopped", "aborting", "freezing", "frozen", "thawed", "error", "brand-new",
	} {
		e := newEvent(t, "state", opt("pool", "p"), opt("id", "1"), opt("state", state))
		if e.Action != state {
			t.Errorf("action of state %q is %q", state, e.Action)
		}
	}
	for _, object := range []string{"pool", "user", "group", "container", "repository", "idrange", "brand-new"} {
		newEvent(t, "db", opt("object", object), opt("pool", "p"), opt("id", "1"), opt("action", "add"))
	}
	newEvent(t, "osctl_oomd", opt("pool", "p"), opt("id", "1"), opt("action", "anything"), Option{"time", Int64(1)})
	// new_name is only required for rename, but always checked.
	wantInvalid(t, "ct_netif", opts("pool", "p", "id", "1", "action", "up", "name", "eth0", "new_name", Uint32(1)),
		InvalidEventError{"ct_netif", "new_name", `a value of type "u"`, "a string (s)"})
}

func TestSchemaIntegersOfAllWidths(t *testing.T) {
	for kind := KindByte; kind <= KindUint64; kind++ {
		newEvent(t, "ct_init_pid", opt("pool", "p"), opt("id", "1"), Option{"init_pid", Number(kind, 1)})
		e := newEvent(t, "management", Option{"id", Number(kind, 200)}, opt("cmd", "x"), Option{"opts", Dict("s", "s", nil)}, opt("state", "done"))
		if e.ID != "200" {
			t.Errorf("id of kind %d is %q", kind, e.ID)
		}
	}
	for want, v := range map[string]Value{
		"-9223372036854775808": Int64(-1 << 63), "18446744073709551615": Uint64(1<<64 - 1), "-1": Int32(-1), "text": String("text"),
	} {
		e := newEvent(t, "management", Option{"id", v}, opt("cmd", "x"), Option{"opts", Dict("s", "v", nil)}, opt("state", "run"))
		if e.ID != want || e.keys[keyID] != want {
			t.Errorf("id is %q, filtered as %q, want %q", e.ID, e.keys[keyID], want)
		}
	}
}

func TestOpenTypes(t *testing.T) {
	e := newEvent(t, "backup_done2", Option{"id", Uint32(4)}, opt("pool", "p"), opt("action", "a"), opt("state", "s"), opt("name", "n"), opt("veth", "v"))
	if e.Action != "" || e.ID != "" || e.Pool != "p" {
		t.Errorf("an event of an open type has action %q, id %q, pool %q", e.Action, e.ID, e.Pool)
	}
	if e.keys != [numKeys]string{"backup_done2", "", "p", "", "uid:0", "n", "v", ""} {
		t.Errorf("filtered as %q", e.keys)
	}
}
