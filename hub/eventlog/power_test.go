package eventlog_test

import (
	"fmt"
	"maps"
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

// platter is what of a directory is on the disk for certain: contents that were synced,
// and names as they were when the directory was.
type platter struct {
	tb     testing.TB
	dir    string
	random *rand.Rand

	mu      sync.Mutex
	content map[string][]byte // by name without its suffix: a segment has the same under both of its names
	names   []string
	fails   int // so many syncs to come

	synced, last uint64 // events
	outages      []outage
}

// outage is what a loss of power left.
type outage struct {
	what         string
	dir          string
	synced, last uint64 // events that were synced, and announced
}

func stem(name string) string {
	digits, _, _ := strings.Cut(name, ".")
	return digits
}

// before is told of each sync; some fail, and at some the power fails.
func (p *platter) before(f *os.File, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.random.IntN(4) == 0 {
		p.fail(p.random.IntN(3) == 0)
	}
	if p.fails > 0 {
		p.fails--
		return syscall.EIO
	}
	if name == "." {
		p.names = slices.Sorted(maps.Keys(p.now()))
		return nil
	}
	info, err := f.Stat()
	must(p.tb, err)
	content := make([]byte, info.Size())
	_, err = f.ReadAt(content, 0)
	must(p.tb, err)
	p.content[name] = content
	return nil
}

// now returns the files as a process sees them.
func (p *platter) now() map[string][]byte {
	entries, err := os.ReadDir(p.dir)
	must(p.tb, err)
	files := map[string][]byte{}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(p.dir, entry.Name()))
		must(p.tb, err)
		files[entry.Name()] = content
	}
	return files
}

// fail has the power fail: of what was not synced, anything may be there or not; if strict,
// nothing is.
func (p *platter) fail(strict bool) {
	out := outage{dir: filepath.Join(inMemory(p.tb), "state"), synced: p.synced, last: p.last}
	must(p.tb, os.Mkdir(out.dir, 0o700))
	now := p.now()
	byStem := map[string][]byte{}
	for name, content := range now {
		byStem[stem(name)] = content
	}
	names := p.names
	if !strict && p.random.IntN(2) == 0 {
		names = slices.Sorted(maps.Keys(now))
	}
	for _, name := range names {
		synced, cached := p.content[stem(name)], byStem[stem(name)]
		content, choice := synced, p.random.IntN(4)
		switch {
		case strict || len(cached) < len(synced) || choice == 0: // only what was synced
		case choice == 1 || name == "head":
			content = cached
		case choice == 2:
			content = cached[:len(synced)+p.random.IntN(len(cached)-len(synced)+1)]
		default:
			content = append(slices.Clone(synced), make([]byte, len(cached)-len(synced))...)
		}
		out.what += fmt.Sprintf(" %s:%d/%d/%d", strings.TrimLeft(name, "0"), len(synced), len(content), len(cached))
		must(p.tb, os.WriteFile(filepath.Join(out.dir, name), content, 0o600))
	}
	p.outages = append(p.outages, out)
}

// TestPowerFails has the power fail at any time, with syncs that fail before: what was
// synced is there, nothing else is invented, and no cursor stays valid where an event
// may be missing.
func TestPowerFails(t *testing.T) {
	t.Parallel()
	for seed := range uint64(24) {
		synctest.Test(t, func(t *testing.T) { powerFails(t, seed) })
	}
}

func powerFails(t *testing.T, seed uint64) {
	t.Helper()
	c := config(filepath.Join(inMemory(t), "state"))
	c.MaxEvents = 1024
	must(t, os.Mkdir(c.Dir, 0o700))
	p := &platter{tb: t, dir: c.Dir, random: rand.New(rand.NewPCG(seed, 1)), content: map[string][]byte{}}
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

// wantSynced wants what a loss of power may not cost.
func wantSynced(t *testing.T, c eventlog.Config, what string, out outage, all []string, epoch string) {
	t.Helper()
	o := open(t, c)
	status := o.Status()
	oldest := uint64(1)
	if kept := uint64(1024 / 8 * 7); out.last > 1024 {
		oldest = out.last - kept + 1 // see lapMargin of the hub
	}
	if status.Last < out.synced || out.synced >= oldest && status.Oldest > oldest {
		t.Errorf("%s: status is %+v, want %d to %d; said %s", what, status, oldest, out.synced, o.said)
		return
	}
	if got := o.texts(t); !slices.Equal(got, all[status.Oldest-1:status.Last]) {
		t.Errorf("%s: the events are not what they were", what)
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
		t.Errorf("%s: after one more restart status is %+v, was %+v", what, got, after)
	}
}

// What was synced after a time of trouble in which the ring lapped stays, although it does
// not follow what was synced before, and that is not removed for certain.
func TestPowerFailsAfterTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(filepath.Join(inMemory(t), "state"))
		c.MaxEvents = 1024
		must(t, os.Mkdir(c.Dir, 0o700))
		p := &platter{tb: t, dir: c.Dir, random: rand.New(rand.NewPCG(1, 1)), content: map[string][]byte{}}
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
		wantSynced(t, c, "after trouble", p.outages[len(p.outages)-1], all, o.Status().Epoch)
	})
}

// What was synced and is damaged all the same does not make useless what is newer and was
// synced, too.
func TestPowerFailsAndDamage(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 1000) // four segments
	must(t, o.log.Sync())
	want := o.texts(t, 512)
	o.kill()
	damaged := segments(t, c.Dir)[1]
	info, err := os.Stat(damaged)
	must(t, err)
	must(t, os.Truncate(damaged, info.Size()/2))
	c.Boot = "another"
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status().Last != 1000 {
		t.Errorf("restored %d events, want %d; status is %+v; said %s", len(got), len(want), o.Status(), o.said)
	}
}
