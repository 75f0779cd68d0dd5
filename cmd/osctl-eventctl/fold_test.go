package main

import (
	"slices"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
)

// TestFoldLink folds events into a list of interfaces one by one.
func TestFoldLink(t *testing.T) {
	link := func(action, source string, ifindex uint32, pairs ...string) *hub.Event {
		opt := func(name, value string) hub.Option { return hub.Option{Name: name, Value: hub.String(value)} }
		options := hub.Options{opt("pool", "tank"), opt("id", "1"), opt("action", action)}
		for i := 0; i < len(pairs); i += 2 {
			options = append(options, opt(pairs[i], pairs[i+1]))
		}
		if ifindex > 0 {
			options = append(options, hub.Option{Name: "ifindex", Value: hub.Uint32(ifindex)})
		}
		e, err := hub.NewEvent(hub.TypeNetif, options, source)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	row := func(ifindex uint32, name, veth string, state hub.LinkState) hub.Interface {
		return hub.Interface{Ifindex: ifindex, Name: name, Veth: veth, Pool: "tank", ID: "1", State: state}
	}
	const watcher = hub.SourceNetlink
	rows := []hub.Interface{row(3, "eth0", "v", hub.LinkUp)}
	for _, step := range []struct {
		what  string
		event *hub.Event
		want  []hub.Interface
	}{
		{"one goes down", link("down", watcher, 3, "name", "eth0", "veth", "v"), []hub.Interface{row(3, "eth0", "v", hub.LinkDown)}},
		{"what others report", link("up", "uid:0", 3, "name", "eth0", "veth", "v"), []hub.Interface{row(3, "eth0", "v", hub.LinkDown)}},
		{"without an ifindex", link("up", watcher, 0, "name", "eth0", "veth", "v"), []hub.Interface{row(3, "eth0", "v", hub.LinkDown)}},
		{"an unknown one goes down", link("down", watcher, 4, "name", "eth1", "veth", "w"), []hub.Interface{row(3, "eth0", "v", hub.LinkDown)}},
		{"a new one", link("up", watcher, 4, "name", "eth1", "veth", "w"), []hub.Interface{row(3, "eth0", "v", hub.LinkDown), row(4, "eth1", "w", hub.LinkUp)}},
		{"it is renamed inside", link("rename", watcher, 4, "name", "eth1", "new_name", "lan1", "veth", "w"), []hub.Interface{row(3, "eth0", "v", hub.LinkDown), row(4, "lan1", "w", hub.LinkUp)}},
		{"and on the host", link("rename", watcher, 4, "name", "lan1", "new_name", "lan1", "veth", "x", "old_veth", "w"), []hub.Interface{row(3, "eth0", "v", hub.LinkDown), row(4, "lan1", "x", hub.LinkUp)}},
		{"up again", link("up", watcher, 3, "name", "eth0", "veth", "v"), []hub.Interface{row(3, "eth0", "v", hub.LinkUp), row(4, "lan1", "x", hub.LinkUp)}},
	} {
		if rows = foldLink(rows, step.event); !slices.Equal(rows, step.want) {
			t.Fatalf("%s: %+v, want %+v", step.what, rows, step.want)
		}
	}
	deleted := link("down", watcher, 3, "name", "eth0", "veth", "v")
	deleted.Options = append(deleted.Options, hub.Option{Name: "gone", Value: hub.Bool(true)})
	if rows = foldLink(rows, deleted); !slices.Equal(rows, []hub.Interface{row(4, "lan1", "x", hub.LinkUp)}) {
		t.Errorf("one is deleted: %+v", rows)
	}
}

// TestFoldRepeatedState checks that a state that is only repeated keeps its time, as in the service's list.
func TestFoldRepeatedState(t *testing.T) {
	began := time.Unix(1000, 0)
	rows := []hub.Container{{Pool: "tank", ID: "1", State: "running", Time: began, Name: "web"}}
	for i, state := range []string{"running", "stopped"} {
		e := event(t, hub.TypeState, "pool", "tank", "id", "1", "state", state)
		e.Time = began.Add(time.Hour)
		rows = foldContainer(rows, e)
		if want := began.Add(time.Duration(i) * time.Hour); len(rows) != 1 || !rows[0].Time.Equal(want) || rows[0].State != state || rows[0].Name != "web" {
			t.Errorf("%s: %+v, want %v", state, rows, want)
		}
	}
}
