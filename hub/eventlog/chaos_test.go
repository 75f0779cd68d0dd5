package eventlog_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// markOffset is where the mark is in the head.
const markOffset = 128

// badDisk fails and hangs at random.
type badDisk struct {
	mu     sync.Mutex
	random *rand.Rand
	bad    bool
}

func (d *badDisk) set(bad bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bad = bad
}

// decide draws the result of a write or a sync. If hangs, it may take long first.
func (d *badDisk) decide(hangs bool) error {
	hang, err := d.draw()
	if hangs {
		time.Sleep(hang)
	}
	return err
}

func (d *badDisk) draw() (hang time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bad && d.random.IntN(3) == 0 {
		hang = time.Duration(d.random.IntN(30)) * time.Second
	}
	if d.bad && d.random.IntN(3) == 0 {
		err = syscall.EIO
	}
	return hang, err
}

// The process is killed at any instant, also during the start, on a disk whose writes and syncs fail,
// hang or return late. Within an epoch no number is used twice, and if the epoch survives a restart, no
// published event is missing.
func TestKilledOnBadDisk(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { killedOnBadDisk(t, seed) })
		})
	}
}

func killedOnBadDisk(t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	disk := &badDisk{random: rand.New(rand.NewPCG(seed, 2))}
	c, published := config(inMemory(t)), published{}
	for start := range 6 {
		disk.set(random.IntN(3) == 0)
		o := openOn(t, c, disk)
		published.check(t, o)
		o.run()
		for i := range 5 + random.IntN(30) {
			disk.set(random.IntN(2) == 0)
			event, err := hub.NewEvent("probe", hub.Options{{Name: "n", Value: hub.String(fmt.Sprint(start, i))}}, "uid:0")
			must(t, err)
			must(t, o.Submit(hub.Batch{Events: []*hub.Event{event}}, func(uint64, error) {}))
			time.Sleep(time.Duration(random.IntN(4)*random.IntN(2000)) * time.Millisecond)
			synctest.Wait()
			published.add(t, o)
		}
		killed := filepath.Join(t.TempDir(), "state") // the state that SIGKILL leaves
		copyDir(t, c.Dir, killed)
		disk.set(false)
		time.Sleep(time.Minute) // until nothing hangs
		o.kill()
		c.Dir = killed
	}
}

// openOn opens a hub on a log on a disk.
func openOn(t *testing.T, c eventlog.Config, disk *badDisk) *testHub {
	t.Helper()
	l, err := eventlog.Open(t.Context(), c)
	must(t, err)
	l.OnSync(func(*os.File, string) error { return disk.decide(true) })
	l.OnWrite(func(off int64) error { return disk.decide(off == markOffset) }) // other writes hold a lock
	o := &testHub{log: &recordingLog{Log: l, around: func(load func()) { load() }}, logged: &logBuffer{}, stop: func() {}}
	o.Hub, err = hub.New(t.Context(), hub.Config{Log: o.log})
	must(t, err)
	return o
}

// published has the events by epoch and number.
type published map[string]map[uint64]string

func (p published) add(t *testing.T, o *testHub) {
	t.Helper()
	epoch := o.Status().Epoch
	for i, text := range o.texts(t) {
		p.record(t, epoch, o.Status().Oldest+uint64(i), text)
	}
}

func (p published) record(t *testing.T, epoch string, seq uint64, text string) {
	t.Helper()
	if p[epoch] == nil {
		p[epoch] = map[uint64]string{}
	}
	if was, ok := p[epoch][seq]; ok && was != text {
		t.Fatalf("event %d is %q, was %q", seq, text, was)
	}
	p[epoch][seq] = text
}

// check compares the restored events with the published ones.
func (p published) check(t *testing.T, o *testHub) {
	t.Helper()
	status := o.Status()
	for seq := range p[status.Epoch] {
		if seq > status.Last {
			t.Fatalf("event %d was published, and the log ends at %d", seq, status.Last)
		}
	}
	p.add(t, o)
}
