package netwatch

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/links"
)

// waitCommitted waits until all submitted batches are committed, or for a minute.
func (w *Watcher) waitCommitted() {
	for end := time.Now().Add(time.Minute); w.submitted.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// fillQueue fills the queue of a hub, whose committer then waits for release.
func fillQueue(h *hub.Hub) (release func(), err error) {
	taken, full := make(chan struct{}), make(chan struct{})
	err = h.Submit(hub.Batch{}, func(uint64, error) {
		close(taken)
		<-full
	})
	for <-taken; err == nil; {
		err = h.Submit(hub.Batch{}, func(uint64, error) {})
	}
	if errors.Is(err, hub.ErrBusy) {
		err = nil
	}
	return func() { close(full) }, err
}

// TestQueueFull expects the watcher to read on while the hub's queue is full, and the view to be right
// once there is room. Changes that the hub refused are announced by their outcome, and nothing is
// announced twice.
func TestQueueFull(t *testing.T) {
	f := &fake{links: map[uint32]*fakeLink{
		7: {"kept", flagsUp, alone}, 8: {"gone", flagsUp, alone}, 9: {"renamed", flagsUp, alone},
	}}
	h := newHub(t)
	w := newFakeWatcher(t, h, f)
	w.resync.pause = 0
	turns(t, w, 10)
	events := follow(t, h)

	release, err := fillQueue(h)
	must(t, err)
	turn := func() {
		_, err := w.turn(false)
		must(t, err)
	}
	f.say(delLink(8, f.links[8], nil))
	delete(f.links, 8)
	f.links[9].name = "new"
	f.tell(9)
	f.links[10] = &fakeLink{"added", flagsUp, alone}
	f.tell(10)
	state := func(from, to containers.State) {
		w.queueState(containers.StateChange{Container: containers.Container{Pool: "lxc", ID: "web"}, From: from, To: to})
	}
	state("", containers.Running)
	turn()
	state(containers.Running, containers.Stopped)
	w.table.Bind(&links.Binding{Owner: links.Owner{Pool: "tank", ID: "101"}, Veth: "kept", Name: "eth0", Source: "osctld"})
	f.links[11] = &fakeLink{"later", flagsUp, alone}
	f.tell(11)
	for range 5 {
		turn()
	}
	if len(f.queue) != 0 || !w.lagging() {
		t.Errorf("%d datagrams are unread; lagging %v", len(f.queue), w.lagging())
	}

	release()
	for lagging := true; lagging || !w.resync.synced(); lagging = w.lagging() {
		turns(t, w, 1)
	}
	turns(t, w, 2)
	got := describeAll(events.read(t))
	slices.Sort(got)
	want := []string{
		"down gone name= gone resync", "rename new name= was=renamed resync", "running  name= of=lxc/web", "stopped  name= of=lxc/web",
		"up added name= resync", "up kept name=eth0 of=tank/101 by=osctld handover resync", "up later name= resync",
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if n := h.Status().Interfaces; n != 4 {
		t.Errorf("%d interfaces", n)
	}
}

// TestReadyWhileQueueFull expects Ready not before the view has all links, although the hub refused them
// at first.
func TestReadyWhileQueueFull(t *testing.T) {
	f := &fake{links: map[uint32]*fakeLink{7: {"h", flagsUp, alone}}}
	h := newHub(t)
	w := newFakeWatcher(t, h, f)
	release, err := fillQueue(h)
	must(t, err)
	ready := func() bool {
		select {
		case <-w.Ready():
			return true
		default:
			return false
		}
	}
	for range 10 {
		_, err := w.turn(false)
		must(t, err)
	}
	if ready() || !w.lagging() {
		t.Errorf("ready %v, lagging %v", ready(), w.lagging())
	}
	release()
	for !ready() {
		_, err := w.turn(false)
		must(t, err)
	}
	if n := h.Status().Interfaces; n != 1 {
		t.Errorf("ready with %d interfaces", n)
	}
}
