package dbusapi

import (
	"context"
	"sync"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// gate blocks writes to a log while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while open
}

func (g *gate) wait() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// close shuts the gate until the caller calls open.
func (g *gate) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := make(chan struct{})
	g.shut = shut
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = nil
		close(shut)
	})
}

// gatedLog is a log that waits at a gate before it appends.
type gatedLog struct {
	hub.Log
	gate *gate
}

func (l *gatedLog) Load(ctx context.Context, replay func(hub.Record) error, whole func() bool) hub.Stored {
	stored := l.Log.Load(ctx, replay, whole)
	stored.Writer = &gatedWriter{stored.Writer, l.gate}
	return stored
}

type gatedWriter struct {
	hub.Writer
	gate *gate
}

func (w *gatedWriter) Append(record hub.Record) error {
	w.gate.wait()
	return w.Writer.Append(record)
}

// While the disk hangs, reports wait, even of more connections than there are workers. All other methods
// are answered. Later each report is answered, too.
func TestReadersWithHungDisk(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const reporters, rounds = 16, 20
		log, err := eventlog.Open(t.Context(), eventlog.Config{Dir: t.TempDir(), Boot: "this", Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		var disk gate
		h := apitest.NewHub(t, hub.Config{Log: &gatedLog{log, &disk}})
		defer h.Close()
		serve(t, bus, h)
		apitest.Commit(t, h, 5, "before")
		open := disk.close()
		defer open()
		var answered [reporters]<-chan error
		for i := range answered {
			c := dial(t, bus)
			ended := make(chan error, 1)
			answered[i] = ended
			go func() {
				_, err := c.Report(apitest.Bounded(t), "during", nil)
				ended <- err
			}()
		}
		session := dial(t, bus)
		for range rounds {
			_, events, err := session.WaitEvents(apitest.Bounded(t), hub.CursorOldest, apitest.Only(t, "type", "before"), 0, 0)
			if err != nil || len(events) != 5 {
				t.Fatalf("WaitEvents while the disk hangs: %d events, %v", len(events), err)
			}
			if _, _, err := session.Containers(apitest.Bounded(t), hub.Filter{}); err != nil {
				t.Fatal("ListContainers while the disk hangs:", err)
			}
			if _, err := session.Properties(apitest.Bounded(t)); err != nil {
				t.Fatal("GetAll while the disk hangs:", err)
			}
		}
		open()
		for i := range answered {
			if err := apitest.Await(t, "a report", answered[i]); err != nil {
				t.Error("a report:", err)
			}
		}
		if last := h.Status().Last; last != 5+reporters {
			t.Errorf("the hub has %d events, want %d", last, 5+reporters)
		}
		if _, events, err := session.WaitEvents(apitest.Bounded(t), hub.CursorOldest, hub.Filter{}, 0, wire.MaxTimeout); err != nil || len(events) != 5+reporters {
			t.Errorf("WaitEvents returned %d events, %v", len(events), err)
		}
	})
}
