package eventlog_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog/disktest"
)

// While a real disk hangs, readers go on, and commits go on in memory after some seconds. A new log is
// written after the thaw. Close does not wait for a disk that hangs.
func TestFrozenDisk(t *testing.T) {
	dir, freeze := disktest.Mount(t)
	c := config(filepath.Join(dir, "state"))
	o := open(t, c)
	o.run()
	o.fill(t, 100)
	o.sync(t)
	pause := func() { time.Sleep(5 * time.Millisecond) }
	slow := func() bool { return strings.Contains(o.Status().LogProblem, "the disk is slow") }

	thaw := freeze()
	done := make(chan uint64, 3)
	for i := range 3 {
		must(t, o.Submit(hub.Batch{Events: []*hub.Event{event(t, i)}}, func(first uint64, _ error) { done <- first }))
	}
	poll(t, "the disk is slow", slow, pause)
	if got := o.Status(); got.Last != 100 || len(o.texts(t)) != 100 || len(done) != 0 {
		t.Errorf("status is %+v", got)
	}
	for i := range 3 {
		if first := <-done; first != uint64(101+i) {
			t.Errorf("commit %d has number %d", i, first)
		}
	}
	o.fill(t, 10)
	if got := o.Status(); got.Durable || got.Last != 113 {
		t.Errorf("status is %+v", got)
	}
	thaw()
	poll(t, "the log is written again", func() bool { return o.Status().Durable }, pause)
	want, status := o.texts(t), o.Status()
	o.kill()

	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, status is %+v, was %+v", len(got), o.Status(), status)
	}
	o.fill(t, 1)
	thaw = freeze()
	must(t, o.Submit(hub.Batch{Events: []*hub.Event{event(t, 1)}}, func(first uint64, _ error) { done <- first }))
	poll(t, "the disk is slow", slow, pause)
	o.Close()
	if first := <-done; first != 115 {
		t.Errorf("the commit has number %d", first)
	}
	thaw()
}

// If a real disk hangs at the start, the hub starts in memory, in a new epoch. After the thaw a new log
// is written, and the old one is set aside.
func TestStartOnFrozenDisk(t *testing.T) {
	t.Parallel()
	dir, freeze := disktest.Mount(t)
	c := config(filepath.Join(dir, "state"))
	o := open(t, c)
	o.fill(t, 100)
	before := o.Status()
	o.kill()
	thaw := freeze()
	o = open(t, c)
	o.run()
	o.fill(t, 10)
	status := o.Status()
	if status.Durable || status.Last != 10 || status.Epoch == before.Epoch || !strings.Contains(status.LogProblem, "the disk hangs") {
		t.Errorf("status is %+v, was %+v", status, before)
	}
	thaw()
	poll(t, "a log is written", func() bool { return o.Status().Durable }, func() { time.Sleep(5 * time.Millisecond) })
	want := o.texts(t)
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status().Epoch != status.Epoch {
		t.Errorf("restored %d events, want %d; status is %+v", len(got), len(want), o.Status())
	}
	aside, err := filepath.Glob(filepath.Join(c.Dir, "aside-1", "*.seg"))
	must(t, err)
	if len(aside) == 0 {
		t.Error("the old log was not set aside")
	}
}
