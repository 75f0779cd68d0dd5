package dbusapi

import (
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// Names of containers are in lists, signals and WaitEvents, and filters match them.
func TestContainerNames(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		r := apitest.Receive(t, bus, "arg0='state'")
		apitest.Commit(t, h, 1, "ct_info", "pool", "docker", "id", "4f", "name", "web", "image", "nginx")
		apitest.Commit(t, h, 1, "state", "pool", "docker", "id", "4f", "state", "running")
		apitest.Commit(t, h, 1, "state", "pool", "docker", "id", "5e", "state", "running")
		row := hub.Interface{Ifindex: 3, Veth: "veth3", Name: "eth0", Pool: "docker", ID: "4f", State: hub.LinkUp}
		other := hub.Interface{Ifindex: 4, Veth: "veth4", Name: "eth0", Pool: "docker", ID: "5e", State: hub.LinkUp}
		if _, err := h.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: row}, {Interface: other}}}); err != nil {
			t.Fatal(err)
		}
		ctx, web := apitest.Bounded(t), apitest.Only(t, "ct_name", "web")
		containers, _, err := c.Containers(ctx, web)
		if err != nil || len(containers) != 1 || containers[0].Name != "web" || containers[0].Image != "nginx" || containers[0].Source != "test" {
			t.Errorf("containers are %+v, %v", containers, err)
		}
		row.ContainerName, row.Image = "web", "nginx"
		if interfaces, _, err := c.Interfaces(ctx, web); err != nil || len(interfaces) != 1 || interfaces[0] != row {
			t.Errorf("interfaces are %+v, %v", interfaces, err)
		}
		_, events, err := c.WaitEvents(ctx, hub.CursorOldest, web, 0, 0)
		if err != nil || len(events) != 1 || events[0].ID != "4f" || events[0].Options.Text("ct_name") != "web" {
			t.Errorf("events are %+v, %v", events, err)
		}
		signals := r.Until(t, 2)
		if signals[0].Options.Text("ct_name") != "web" || signals[1].Options.Text("ct_name") != "" {
			t.Errorf("signals have %v, %v", signals[0].Options, signals[1].Options)
		}
	})
}

// A name does not make an event exceed the limit.
func TestNamedEventsStayWithinLimits(t *testing.T) {
	h := apitest.NewHub(t, hub.Config{})
	name := strings.Repeat("n", hub.MaxNameBytes)
	apitest.Commit(t, h, 1, "ct_info", "pool", "docker", "id", "4f", "name", name)
	named := 0
	for size := wire.MaxEvent - 2048; size < wire.MaxEvent-256; size += 7 {
		e, err := hub.NewEvent("state", apitest.Options("pool", "docker", "id", "4f", "state", "running", "x", strings.Repeat("x", size)), "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Commit(hub.Batch{Events: []*hub.Event{e}}); err != nil {
			t.Fatal(err)
		}
		if n := len(wire.EncodeEvent(e)); n > wire.MaxEvent {
			t.Fatalf("the event has %d bytes", n)
		}
		if e.Options.Text("ct_name") == name {
			named++
		}
	}
	if named < 100 {
		t.Errorf("%d events have the name, want at least 100", named)
	}
}
