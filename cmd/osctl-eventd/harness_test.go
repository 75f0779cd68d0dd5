package main

import (
	"context"
	"strings"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

const patience = apitest.Patience

// programs is the directory of the built programs.
var programs string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) { daemontest.Main(m, &programs) }

type lockedBuffer = daemontest.Output

// daemonProcess is a daemon in its own process, in a network namespace or on a host of containers.
type daemonProcess struct{ *daemontest.Daemon }

// startDaemon is [daemontest.Start] with the programs of this package.
func startDaemon(t testing.TB, ns *nstest.NS, address string, env []string, flags ...string) *daemonProcess {
	t.Helper()
	return &daemonProcess{daemontest.Start(t, programs, ns, address, env, flags...)}
}

// launchDaemon is [daemontest.Launch] with the programs of this package.
func launchDaemon(t testing.TB, ns *nstest.NS, address string, env []string, flags ...string) *daemonProcess {
	t.Helper()
	return &daemonProcess{daemontest.Launch(t, programs, ns, address, env, flags...)}
}

// collect reads at least n events that pass the filter, from the oldest on.
func collect(t testing.TB, client *client.Client, filter hub.Filter, n int) []*hub.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []*hub.Event
	for cursor := hub.CursorOldest; len(all) < n; {
		next, events, err := client.WaitEvents(ctx, cursor, filter, 0, patience)
		if err != nil {
			t.Fatalf("got %d of %d events: %v", len(all), n, err)
		}
		all, cursor = append(all, events...), next
	}
	return all
}

// typeFilter passes events of one type.
func typeFilter(t testing.TB, typ string) hub.Filter {
	t.Helper()
	filter, err := hub.Filter{}.With("type", typ)
	must(t, err)
	return filter
}

// formatEvent formats the action and the names of an interface event.
func formatEvent(e *hub.Event) string {
	o := e.Options
	words := []string{e.Action, "name=" + o.Text("name")}
	if renamed := o.Text("new_name"); renamed != "" {
		words = append(words, "new_name="+renamed)
	}
	words = append(words, "veth="+o.Text("veth"))
	if old := o.Text("old_veth"); old != "" {
		words = append(words, "old_veth="+old)
	}
	return strings.Join(words, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
