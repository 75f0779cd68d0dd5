package fleettest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// Eventd is the service of osctl-eventd on its own bus, without a watcher of the kernel.
type Eventd struct {
	Bus    *bustest.Bus
	Hub    *hub.Hub
	cancel context.CancelFunc
	ended  chan struct{}
}

// StartEventd starts a service with a history of this length. It ends with the test.
func StartEventd(tb testing.TB, history int) *Eventd {
	tb.Helper()
	e := &Eventd{Bus: bustest.Start(tb, bustest.Daemon, bustest.PolicyOpen)}
	e.Serve(tb, apitest.NewHub(tb, hub.Config{History: history}))
	tb.Cleanup(e.Stop)
	return e
}

// Serve starts the service for a hub, which replaces the hub before.
func (e *Eventd) Serve(tb testing.TB, h *hub.Hub) {
	tb.Helper()
	service, err := dbusapi.New(dbusapi.Config{Hub: h, Address: e.Bus.Address(), Log: slog.New(slog.DiscardHandler), Version: "1.2.3"})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.Hub, e.cancel, e.ended = h, cancel, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = service.Run(ctx)
	}(e.ended)
	select {
	case <-service.Ready():
	case <-e.ended:
		tb.Fatal("the service ended")
	}
}

// Stop ends the service.
func (e *Eventd) Stop() {
	e.cancel()
	<-e.ended
}

// Commit commits n events, and returns the cursor after them.
func (e *Eventd) Commit(tb testing.TB, n int, pairs ...string) string {
	tb.Helper()
	if len(pairs) == 0 {
		pairs = []string{"pool", "tank", "id", "101", "state", "running"}
	}
	last := apitest.Commit(tb, e.Hub, n, hub.TypeState, pairs...)
	return hub.FormatCursor(apitest.Epoch(e.Hub), last)
}
