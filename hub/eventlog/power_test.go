package eventlog_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/hub/eventlog"
)

// powerDisk tracks the synced state of a directory: contents of files at their last sync, and names at
// the last sync of their directory. A file is identified by its place: its path in the finished log,
// without the suffix.
type powerDisk struct {
	tb     testing.TB
	dir    string
	random *rand.Rand

	mu      sync.Mutex
	content map[string][]byte   // by place
	names   map[string][]string // by place of the directory
	fails   int                 // number of syncs that will fail

	synced, last uint64 // events
	outages      []outage
}

// outage is the state that a loss of power leaves.
type outage struct {
	what         string
	dir          string
	synced, last uint64 // numbers of the last synced and the last published event
}

func newPlatter(tb testing.TB, dir string, random *rand.Rand) *powerDisk {
	return &powerDisk{tb: tb, dir: dir, random: random, content: map[string][]byte{}, names: map[string][]string{}}
}

// place returns the place of a file or directory, such as log-2/0000000000000001.
func (p *powerDisk) place(path string) string {
	path, err := filepath.Rel(p.dir, path)
	must(p.tb, err)
	parts := strings.Split(path, "/")
	for i := range parts {
		if parts[i] != "." {
			parts[i], _, _ = strings.Cut(parts[i], ".")
		}
	}
	return filepath.Join(parts...)
}

// before is called before each sync. Some syncs fail, and before some the power fails.
func (p *powerDisk) before(f *os.File, path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.random.IntN(4) == 0 {
		p.fail(p.random.IntN(3) == 0)
	}
	if p.fails > 0 {
		p.fails--
		return syscall.EIO
	}
	if f == nil {
		p.names[p.place(path)] = p.namesNow(path)
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil // the file was dropped
	}
	content := make([]byte, info.Size())
	if _, err = f.ReadAt(content, 0); err == nil {
		p.content[p.place(path)] = content
	}
	return nil
}

func (p *powerDisk) namesNow(dir string) []string {
	entries, err := os.ReadDir(dir)
	must(p.tb, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// fail simulates a loss of power. Any part of the unsynced data survives; if strict, none.
func (p *powerDisk) fail(strict bool) {
	out := outage{dir: filepath.Join(inMemory(p.tb), "state"), synced: p.synced, last: p.last}
	p.failDir(&out, p.dir, ".", out.dir, strict)
	p.outages = append(p.outages, out)
}

// failDir writes a directory as a loss of power leaves it.
func (p *powerDisk) failDir(out *outage, from, place, to string, strict bool) {
	must(p.tb, os.Mkdir(to, 0o700))
	names := p.names[place]
	if !strict && p.random.IntN(2) == 0 {
		names = p.namesNow(from)
	}
	byPlace := map[string]string{}
	for _, name := range p.namesNow(from) {
		byPlace[p.place(filepath.Join(from, name))] = filepath.Join(from, name)
	}
	for _, name := range names {
		place := p.place(filepath.Join(from, name))
		path, there := byPlace[place]
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			p.failDir(out, path, place, filepath.Join(to, name), strict)
			continue
		}
		if !there && strings.HasPrefix(name, "log-") {
			continue // the log was removed, and its content is not needed
		}
		p.failFile(out, place, path, filepath.Join(to, name), strict)
	}
}

// failFile writes a file as a loss of power leaves it.
func (p *powerDisk) failFile(out *outage, place, path, to string, strict bool) {
	synced := p.content[place]
	cached, err := os.ReadFile(path)
	if err != nil { // the file was removed
		cached = synced
	}
	content, choice := synced, p.random.IntN(4)
	switch {
	case strict || len(cached) < len(synced) || choice == 0: // only synced data
	case choice == 1 || filepath.Base(place) == "head":
		content = cached
	case choice == 2:
		content = cached[:len(synced)+p.random.IntN(len(cached)-len(synced)+1)]
	default:
		content = append(slices.Clone(synced), make([]byte, len(cached)-len(synced))...)
	}
	out.what += fmt.Sprintf(" %s:%d/%d/%d", place, len(synced), len(content), len(cached))
	must(p.tb, os.WriteFile(to, content, 0o600))
}

// The power fails at any time, also after failed syncs. Synced events are restored, and no cursor stays
// valid if an event may be missing.
func TestPowerFails(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { powerFails(t, seed) })
	}
}

func powerFails(t *testing.T, seed uint64) {
	t.Helper()
	c := config(filepath.Join(inMemory(t), "state"))
	c.MaxEvents = 1024
	must(t, os.Mkdir(c.Dir, 0o700))
	p := newPlatter(t, c.Dir, rand.New(rand.NewPCG(seed, 1)))
	o := openSyncing(t, c, p.before)
	o.run()
	var all []string
	steps := rand.New(rand.NewPCG(seed, 2))
	for range 30 {
		after := o.Status().Last
		o.fill(t, steps.IntN(150))
		all = append(all, o.texts(t, after)...)
		p.mu.Lock()
		p.last = o.Status().Last
		if steps.IntN(5) == 0 {
			p.fails = 1 + steps.IntN(4)
		}
		if steps.IntN(8) == 0 {
			p.fail(steps.IntN(3) == 0)
		}
		p.mu.Unlock()
		if rest := steps.IntN(3); rest > 0 {
			<-time.After(time.Duration(rest) * 2 * time.Second)
			synctest.Wait()
		} else {
			continue
		}
		p.mu.Lock()
		if o.Status().Durable {
			p.synced = p.last
		}
		p.mu.Unlock()
	}
	status := o.Status()
	o.stop()
	o.stop = func() {}
	p.fails = 0
	o.Close()
	c.Boot = "another"
	for _, out := range p.outages {
		c.Dir = out.dir
		wantSynced(t, c, fmt.Sprint("seed ", seed, ": ", out), out, all, status.Epoch)
	}
	p.fail(true)
	c.Dir = p.outages[len(p.outages)-1].dir
	if got := open(t, c).Status(); got.Epoch != status.Epoch || got.Last != status.Last || !got.Durable {
		t.Errorf("seed %d: after a clean end status is %+v, was %+v", seed, got, status)
	}
}

// wantSynced checks the state after a loss of power.
func wantSynced(t *testing.T, c eventlog.Config, what string, out outage, all []string, epoch string) {
	t.Helper()
	o := open(t, c)
	status := o.Status()
	oldest := uint64(1)
	if kept := uint64(1024 / 8 * 7); out.last > 1024 {
		oldest = out.last - kept + 1 // see lapMargin of the hub
	}
	if status.Last < out.synced || out.synced >= oldest && status.Oldest > oldest {
		t.Errorf("%s: status is %+v, want %d to %d; logged: %s", what, status, oldest, out.synced, o.logged)
		return
	}
	if got := o.texts(t); !slices.Equal(got, all[status.Oldest-1:status.Last]) {
		t.Errorf("%s: the events differ from the committed ones", what)
	}
	if status.Epoch == epoch && status.Last < out.last {
		t.Errorf("%s: the epoch is the same, and %d events are missing", what, out.last-status.Last)
	}
	if status.Containers < 50 && out.synced >= 50 || !status.Durable {
		t.Errorf("%s: status is %+v", what, status)
	}
	o.fill(t, 3)
	after := o.Status()
	o.kill()
	if got := open(t, c).Status(); got.Epoch != status.Epoch || got.Last != status.Last+3 {
		t.Errorf("%s: after another restart status is %+v, was %+v", what, got, after)
	}
}

// After a failure during which the ring lapped, synced events survive a loss of power, although they do
// not follow those of the old log, whose removal may not be synced.
func TestPowerFailsAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(filepath.Join(inMemory(t), "state"))
		c.MaxEvents = 1024
		must(t, os.Mkdir(c.Dir, 0o700))
		p := newPlatter(t, c.Dir, rand.New(rand.NewPCG(1, 1)))
		o := openSyncing(t, c, p.before)
		o.run()
		var all []string
		fill := func(n, fails int) {
			after := o.Status().Last
			p.mu.Lock()
			p.fails = fails
			p.mu.Unlock()
			o.fill(t, n)
			all = append(all, o.texts(t, after)...)
			<-time.After(10 * time.Second)
			synctest.Wait()
		}
		fill(600, 0)
		fill(900, 1)
		fill(900, 2)
		if got := o.Status(); !got.Durable || got.Oldest < 700 {
			t.Fatalf("status is %+v", got)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last = o.Status().Last
		p.synced = p.last
		p.fail(true)
		c.Dir, c.Boot = p.outages[len(p.outages)-1].dir, "another"
		wantSynced(t, c, "after the failure", p.outages[len(p.outages)-1], all, o.Status().Epoch)
	})
}

// Damage in a synced segment does not affect newer synced segments.
func TestPowerFailsAndDamage(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 1000) // four segments
	o.sync(t)
	want := o.texts(t, 512)
	o.kill()
	damaged := segments(t, c.Dir)[1]
	info, err := os.Stat(damaged)
	must(t, err)
	must(t, os.Truncate(damaged, info.Size()/2))
	c.Boot = "another"
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status().Last != 1000 {
		t.Errorf("restored %d events, want %d; status is %+v; logged: %s", len(got), len(want), o.Status(), o.logged)
	}
}
