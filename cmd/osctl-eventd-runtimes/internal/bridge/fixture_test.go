package bridge

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventd is osctl-eventd without its watcher.
type eventd struct {
	bus  *bustest.Bus
	hub  *hub.Hub
	stop func()
}

func startEventd(t *testing.T) *eventd {
	t.Helper()
	e := &eventd{bus: bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)}
	e.serve(t, apitest.NewHub(t, hub.Config{}))
	t.Cleanup(func() { e.stop() })
	return e
}

// serve serves a hub on the bus.
func (e *eventd) serve(t *testing.T, h *hub.Hub) {
	t.Helper()
	service, err := dbusapi.New(dbusapi.Config{Hub: h, Address: e.bus.Address(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = service.Run(ctx)
	}()
	e.hub, e.stop = h, func() { cancel(); <-ended }
	apitest.Await(t, "the service is ready", service.Ready())
}

// events returns all events of the hub as short texts.
func (e *eventd) events(t *testing.T) (all []string) {
	t.Helper()
	sub, err := e.hub.Subscribe(hub.Filter{}, hub.CursorOldest)
	if err != nil {
		t.Fatal(err)
	}
	for buf := make([]*hub.Event, 256); ; {
		n, err := sub.Poll(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		for _, event := range buf[:n] {
			all = append(all, short(event))
		}
	}
}

// short formats an event without the values that differ from run to run.
func short(e *hub.Event) string {
	text := e.Type + " " + e.Pool + ":" + e.ID[:min(len(e.ID), 4)]
	for _, o := range e.Options {
		switch o.Name {
		case "pool", "id", "object", optionOccurred:
		default:
			text += " " + o.Name + "=" + strings.Trim(string(o.Value.AppendJSON(nil)), `"`)
		}
	}
	return text
}

// want waits until the hub has exactly these events.
func (e *eventd) want(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	deadline := time.Now().Add(patience)
	for !slices.Equal(got, want) {
		if time.Now().After(deadline) {
			t.Fatalf("events are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		time.Sleep(5 * time.Millisecond)
		got = e.events(t)
	}
}

// bridgeRun is a bridge that a test runs.
type bridgeRun struct {
	stop func()

	mu     sync.Mutex
	status string
	log    strings.Builder
}

func (r *bridgeRun) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// output returns the status and the log.
func (r *bridgeRun) output() (status, log string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status, r.log.String()
}

// startBridge runs a bridge until it is stopped, or until the test ends.
func startBridge(t *testing.T, config Config) *bridgeRun {
	t.Helper()
	r := &bridgeRun{}
	config.Log = slog.New(slog.NewTextHandler(r, nil))
	config.Status = func(text string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.status = text
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Run(ctx, config)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		apitest.Await(t, "the bridge ends", ended)
	})
	t.Cleanup(func() {
		r.stop()
		if status, log := r.output(); t.Failed() {
			t.Logf("the status of the bridge is %q, its log:\n%s", status, log)
		}
	})
	return r
}

// idOf returns a valid id that begins with a text.
func idOf(begin string) string { return begin + strings.Repeat("0", idDigits-len(begin)) }

// patience is the timeout of all waits in tests.
const patience = apitest.Patience

// wantStatus waits until the bridge has a status.
func (r *bridgeRun) wantStatus(t *testing.T, want string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for status, _ := r.output(); status != want; status, _ = r.output() {
		if time.Now().After(deadline) {
			t.Fatalf("the status is %q, want %q", status, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
