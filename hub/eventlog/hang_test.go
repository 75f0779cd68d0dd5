package eventlog_test

import (
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// oneEvent returns a record of one event, with so many bytes.
func oneEvent(number uint64, size int) hub.Record {
	return hub.Record{First: number, Count: 1, Data: make([]byte, size)}
}

// openBare opens a log without a hub, and returns the writer of what it has stored.
func openBare(t *testing.T, c eventlog.Config) (*eventlog.Log, hub.Stored) {
	t.Helper()
	l, err := eventlog.Open(t.Context(), c)
	must(t, err)
	stored := l.Load(func(hub.Record) error { return nil }, func() bool { return true })
	must(t, stored.Problem)
	return l, stored
}

// Full returns while a Sync hangs in writing the head: the committer calls it where nobody would
// replace it.
func TestFullBesideHungSync(t *testing.T) {
	l, stored := openBare(t, config(t.TempDir()))
	w := stored.Writer
	must(t, w.Append(oneEvent(1, 10)))
	must(t, w.Rotate([]hub.Record{{First: 2, Data: []byte("snapshot")}})) // the head has to tell of it
	hangs, letGo := make(chan struct{}), make(chan struct{})
	l.OnWrite(func() {
		close(hangs)
		<-letGo
	})
	synced := make(chan error, 1)
	go func() { synced <- w.Sync() }()
	<-hangs
	full := make(chan bool, 1)
	go func() { full <- w.Full() }()
	select {
	case <-full:
	case <-time.After(10 * time.Second):
		t.Error("Full waits for Sync")
	}
	close(letGo)
	must(t, <-synced)
	l.OnWrite(func() {})
	must(t, w.Close(true))
	must(t, l.Close())
}
