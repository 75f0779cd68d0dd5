package line

import (
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

func event(t *testing.T, typ, source string, options ...hub.Option) *hub.Event {
	t.Helper()
	e, err := hub.NewEvent(typ, options, source)
	if err != nil {
		t.Fatal(err)
	}
	e.Time = time.Date(2026, 11, 22, 10, 11, 12, 345678000, time.Local)
	return e
}

func opt(name, value string) hub.Option { return hub.Option{Name: name, Value: hub.String(value)} }

func TestLine(t *testing.T) {
	tests := []struct {
		name  string
		event *hub.Event
		want  string
	}{
		{
			"up",
			event(t, hub.TypeNetif, hub.SourceNetlink, opt("pool", "tank"), opt("id", "101"), opt("action", "up"),
				opt("name", "eth0"), opt("veth", "veth1a2b"), hub.Option{Name: "ifindex", Value: hub.Uint32(7)}),
			"10:11:12.345  ct_netif up        tank:101        eth0 (veth1a2b on the host)",
		},
		{
			"rename on the host, found by comparing",
			event(t, hub.TypeNetif, hub.SourceNetlink, opt("pool", ""), opt("id", ""), opt("action", "rename"), opt("name", "b"),
				opt("new_name", "b"), opt("veth", "new"), opt("old_veth", "old"), hub.Option{Name: "resync", Value: hub.Bool(true)}),
			"10:11:12.345  ct_netif rename    -               b (old -> new on the host) [found by comparing]",
		},
		{
			"names that pass for more",
			event(t, hub.TypeNetif, "a  b", opt("pool", "tank"), opt("id", "1  eth0"), opt("action", "up"), opt("name", "a -> b"), opt("veth", "v\u00a0\"")),
			`10:11:12.345  ct_netif up        tank:"1  eth0"  "a -> b" ("v\u00a0\"" on the host)  from "a  b"`,
		},
		{
			"rename inside",
			event(t, hub.TypeNetif, "uid:0", opt("pool", "tank"), opt("id", "101"), opt("action", "rename"), opt("name", "eth0"), opt("new_name", "lan0")),
			"10:11:12.345  ct_netif rename    tank:101        eth0 -> lan0  from uid:0",
		},
		{
			"a name in place of a hash",
			event(t, hub.TypeState, "cgroup", opt("pool", "podman"), opt("id", strings.Repeat("4f5e6d7c", 8)), opt("state", "running"), opt("ct_name", "my web")),
			`10:11:12.345  state running      podman:"my web"  from cgroup`,
		},
		{
			"a hash without a name",
			event(t, hub.TypeExit, "uid:0", opt("pool", "podman"), opt("id", strings.Repeat("4f5e6d7c", 8)), opt("exit_type", "exit")),
			"10:11:12.345  ct_exit            podman:4f5e6d7c4f5e  exit_type=exit  from uid:0",
		},
		{
			"a name that is told",
			event(t, hub.TypeInfo, "uid:0", opt("pool", "podman"), opt("id", strings.Repeat("4f5e6d7c", 8)), opt("name", "web"), opt("image", "nginx")),
			"10:11:12.345  ct_info            podman:web      image=nginx  from uid:0",
		},
		{
			"state",
			event(t, hub.TypeState, "osctld.service", opt("pool", "tank"), opt("id", "101"), opt("state", "running"), hub.Option{Name: "init_pid", Value: hub.Int32(42)}),
			"10:11:12.345  state running      tank:101        init_pid=42  from osctld.service",
		},
		{
			"wide characters",
			event(t, hub.TypeState, "uid:0", opt("pool", "槽"), opt("id", "é"), opt("state", "running")),
			"10:11:12.345  state running      槽:é            from uid:0",
		},
		{
			"open type, hostile text",
			event(t, "backup", "uid:0", opt("id", "x\x1b[2J"), opt("note", "a b"), opt("empty", ""), opt("plain", "c")),
			`10:11:12.345  backup             x\x1b[2J        note="a b"  empty=""  plain=c  from uid:0`,
		},
		{
			"numbers, and texts that look like them",
			event(t, "backup", "uid:0", hub.Option{Name: "id", Value: hub.Int64(5)}, hub.Option{Name: "n", Value: hub.Int64(5)}, opt("s", "5"), opt("b", "true")),
			`10:11:12.345  backup             -               id=5  n=5  s="5"  b="true"  from uid:0`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string((&Formatter{Today: test.event.Time}).Append(nil, test.event)); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}
