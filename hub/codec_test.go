package hub

import (
	"testing"
	"time"
)

// Snapshots of earlier versions can be read. A binding gets an unknown source; missing fields are empty.
func TestEarlierSnapshotIsRead(t *testing.T) {
	stored := []byte{recordSnapshot, firstPart | lastPart, 1, 'x', 1, storedAnnounced | storedBound, 7}
	for _, text := range []string{"veth1", "eth0", "p", "1", "up"} {
		stored = appendText(stored, text)
	}
	stored = append(stored, 1)
	for _, text := range []string{"p", "1", "running"} {
		stored = appendText(stored, text)
	}
	stored = append(stored, 2) // a varint: one microsecond
	h := newHub(t, Config{})
	r := &replayer{state: h.state}
	if err := r.record(Record{First: 1, Data: stored}); err != nil {
		t.Fatal(err)
	}
	h.state = r.state
	want := Interface{Ifindex: 7, Veth: "veth1", Name: "eth0", Pool: "p", ID: "1", State: LinkUp, BoundBy: unknownSource, Announced: true}
	if rows, _ := h.Interfaces(); len(rows) != 1 || rows[0] != want {
		t.Errorf("interfaces are %+v, want %+v", rows, want)
	}
	if rows, _ := h.Containers(); len(rows) != 1 || rows[0] != (Container{Pool: "p", ID: "1", State: "running", Time: time.UnixMicro(1)}) {
		t.Errorf("containers are %+v", rows)
	}
}
