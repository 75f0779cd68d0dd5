package webtest

import (
	"fmt"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// scene is a daemon on a bus that watches a network namespace.
type scene struct {
	t      *testing.T
	bus    *bustest.Bus
	host   *nstest.NS
	daemon *daemontest.Daemon
	client *client.Client
}

// newScene creates a bus without a daemon.
func newScene(t *testing.T, policy string) *scene {
	t.Helper()
	return &scene{t: t, bus: bustest.Start(t, bustest.Daemon, policy), host: nstest.New(t)}
}

// start starts the daemon. It may be called again after the daemon was killed.
func (s *scene) start(args ...string) {
	s.t.Helper()
	s.daemon = daemontest.Start(s.t, programs, s.host, s.bus.Address(), nil, args...)
	s.client = s.daemon.Client(s.t)
}

// report reports an event of string options.
func (s *scene) report(typ string, pairs ...string) {
	s.t.Helper()
	_, err := s.client.Report(s.t.Context(), typ, options(pairs...))
	must(s.t, err)
}

// reportMany reports n equal events, in batches.
func (s *scene) reportMany(n int, typ string, pairs ...string) {
	s.t.Helper()
	for n > 0 {
		batch := make([]client.Report, min(n, client.MaxEvents))
		for i := range batch {
			batch[i] = client.Report{Type: typ, Options: options(pairs...)}
		}
		_, err := s.client.ReportBatch(s.t.Context(), batch)
		must(s.t, err)
		n -= len(batch)
	}
}

// lastSequence returns the number of the newest event.
func (s *scene) lastSequence() string {
	s.t.Helper()
	status, err := s.client.Properties(s.t.Context())
	must(s.t, err)
	newest, _ := status.Get("LastSequence")
	return fmt.Sprint(newest.Uint())
}

func options(pairs ...string) (all hub.Options) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, hub.Option{Name: pairs[i], Value: hub.String(pairs[i+1])})
	}
	return all
}

// pair creates veths for a container's interface, and returns the ifindexes of both ends. Both are down.
func (s *scene) pair(veth, pool, id, name string) (here, inside int) {
	s.t.Helper()
	here, err := s.host.Pair(veth, veth+"p", nil)
	must(s.t, err)
	inside, err = s.host.Index(veth + "p")
	must(s.t, err)
	if pool != "" {
		s.report("ct_netif", "pool", pool, "id", id, "action", "add", "name", name, "veth", veth)
	}
	return here, inside
}

func (s *scene) up(ifindexes ...int) {
	s.t.Helper()
	for _, ifindex := range ifindexes {
		must(s.t, s.host.Up(ifindex))
	}
}

// open opens the page as root.
func (s *scene) open(hash string) *browser {
	s.t.Helper()
	return openPage(s.t, startCockpit(s.t, s.bus.Address(), user{}), hash, look{})
}

// startScene creates a scene with a running daemon, on a bus that is open to everybody.
func startScene(t *testing.T, args ...string) *scene {
	t.Helper()
	s := newScene(t, bustest.PolicyOpen)
	s.start(args...)
	return s
}
