package hub_test

import (
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// largestEvent returns an event at the limit of the bus. Its empty arrays of a long type take more
// room in the log than any other value.
func largestEvent(t *testing.T) *hub.Event {
	t.Helper()
	const room = wire.MaxEvent - 600 // type, source, name, signature
	elem := "aa(" + strings.Repeat("y", 250) + ")"
	items := make([]hub.Value, room/4)
	for i := range items {
		items[i] = hub.Array(elem[1:], nil)
	}
	e, err := hub.NewEvent("x", hub.Options{{Name: "o", Value: hub.Array(elem, items)}}, "uid:0")
	if err != nil {
		t.Fatal(err)
	}
	if size := len(wire.EncodeEvent(e)); size > wire.MaxEvent {
		t.Fatalf("the event takes %d bytes on the bus", size)
	}
	return e
}

// The log stores and restores the largest batch that the bus allows.
func TestLargestBatchIsLogged(t *testing.T) {
	dir := t.TempDir()
	open := func() *hub.Hub {
		l, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir, Boot: "this"})
		if err != nil {
			t.Fatal(err)
		}
		return newHub(t, hub.Config{Log: l})
	}
	h := open()
	var batch hub.Batch
	for range wire.MaxBatchBytes / wire.MaxEvent {
		batch.Events = append(batch.Events, largestEvent(t))
	}
	commit(t, h, batch)
	status := h.Status()
	if !status.Durable {
		t.Errorf("status is %+v", status)
	}
	h.Close()
	h = open()
	if got := h.Status(); got != status {
		t.Errorf("after a restart status is %+v, was %+v", got, status)
	}
	h.Close()
}
