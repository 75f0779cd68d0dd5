package owner

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Container names a container: the pool is what it belongs to, or the runtime, and
// the id is unique in that. Both are text without NUL of 1 to 255 bytes.
type Container struct{ Pool, ID string }

// PoolNetns is the pool of namespaces that have a name and no container.
const PoolNetns = "netns"

// Config is what a Finder needs.
type Config struct {
	Log *slog.Logger // nil: nothing is logged

	// Cgroup is where cgroups are mounted: a hierarchy, a cgroup in one (which is
	// taken for its root then), or a directory with unified, systemd and the like in
	// it. Empty means where /proc/self/mountinfo says.
	Cgroup string
	Proc   string // the proc filesystem; empty means /proc
	Netns  string // where namespaces are bound to files by name; empty means /run/netns
}

// maxKnown is how many nsids the map holds. The kernel has never as many; at the
// limit any other is forgotten for a new one, and looked up again if asked for.
const maxKnown = 1 << 16

// source says how an owner was found. What is found in a better way replaces it.
type source int

const (
	fromName    source = iota // a named namespace
	fromProcess               // any process of the container
	fromCgroup                // the container's init
)

// entry is what the map has for an nsid.
type entry struct {
	Container

	from  source
	stamp uint64 // no other entry has or had it
}

// Finder says which container the network namespace with an nsid belongs to.
//
// Find is for one goroutine, and Close comes after it. All else is safe for
// concurrent use.
type Finder struct {
	log    *slog.Logger
	config Config
	rules  []matcher

	mu     sync.Mutex
	known  map[int32]entry
	epoch  uint64              // the number of Forgets so far
	stamp  uint64              // that of the newest entry
	missed map[int32]time.Time // nsids that walks did not find: since when
	looks  pace                // at what is new
	walks  pace                // over cgroups and names
	scans  pace                // over all processes
	lacks  [lackKinds]string
	said   map[string]struct{} // errors that nobody else hears of
	since  time.Time           // when the first of them was said

	// What follows belongs to Find.
	hierarchies []*hierarchy
	own         int32 // nsid of the namespace that counts, as of this walk
	watches     *watches
	turn        uint64        // number of this walk
	pass        uint64        // number of the pass over nodes
	now         time.Time     // when this walk began
	crowd       *crowd        // asks for it; nil if it asks by itself
	helped      time.Duration // processor time of others in this walk
	held        *regexp.Regexp
	queue       []*node     // that this walk looks at, of those that were seen before
	fresh       []*node     // and that were not; a stack
	queued      int         // in both, since the pass began
	open        []*group    // that may be without an answer that counts
	openSince   uint64      // the epoch that they are listed since
	shortcuts   []*shortcut // that are open in this walk
	kernels     []kernel
	helpers     []*reader // of those who may help
	reader
}

// New opens a socket for queries in the network namespace of the calling thread, and
// counts as that namespace does. That a capability or a mount of cgroups is missing is no error: see
// [Finder.Missing].
func New(config Config) (*Finder, error) {
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	kernels := []kernel{k}
	for range min(runtime.GOMAXPROCS(0)-1, maxHelpers) {
		helper, err := k.another()
		if err != nil {
			break // without it a first walk takes longer
		}
		kernels = append(kernels, helper)
	}
	f, err := newFinder(config, kernels...)
	if err != nil {
		return nil, errors.Join(err, closeAll(kernels))
	}
	return f, nil
}

// closeAll closes sockets, the first of them last, whatever fails.
func closeAll(kernels []kernel) error {
	var errs []error
	for _, k := range slices.Backward(kernels) {
		errs = append(errs, k.close())
	}
	return errors.Join(errs...)
}

// newFinder takes a kernel to ask by, and one for each who may help.
func newFinder(config Config, kernels ...kernel) (*Finder, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Proc == "" {
		config.Proc = "/proc"
	}
	if config.Netns == "" {
		config.Netns = "/run/netns"
	}
	matchers, err := compile(rules())
	if err != nil {
		return nil, err
	}
	f := &Finder{
		log: config.Log, config: config, rules: matchers,
		known: map[int32]entry{}, missed: map[int32]time.Time{},
		looks: lookPace(), walks: cgroupPace(), scans: processPace(),
		kernels: kernels, watches: openWatches(), own: none, held: regexp.MustCompile(runtimeNames),
	}
	for _, k := range kernels[1:] {
		f.helpers = append(f.helpers, &reader{proc: config.Proc, kernel: k, fault: f.fault})
	}
	f.reader = reader{proc: config.Proc, kernel: kernels[0], fault: f.fault}
	f.probe()
	return f, nil
}

// Close closes the sockets.
func (f *Finder) Close() error {
	f.watches.close()
	return closeAll(f.kernels)
}

// lookUp returns the owner of an nsid if the map has it.
func (f *Finder) lookUp(nsid int32) (Container, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.known[nsid]
	return e.Container, ok
}

// Find returns the owner of an nsid, and looks for it if it is not known and to do so
// is due: always for the first time. What the map says afterwards is the answer, so an
// nsid that was forgotten meanwhile has none. A context that ends ends the search.
func (f *Finder) Find(ctx context.Context, nsid int32) (Container, bool) {
	if c, ok := f.lookUp(nsid); ok || nsid < 0 {
		return c, ok
	}
	now := time.Now()
	f.mu.Lock()
	_, again := f.missed[nsid]
	due := f.looks.due(now, again)
	f.mu.Unlock()
	if !due {
		return Container{}, false
	}
	f.walk(ctx, nsid, now)
	return f.lookUp(nsid)
}

// NextWalk returns when Find may look again for what it did not find; the zero time is now. See the package
// for how often that is.
func (f *Finder) NextWalk() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks.next
}

// Forget drops what is known of an nsid. It is for RTM_DELNSID, after which the
// kernel gives the number to the next namespace. What a walk under way learned before
// does not come back.
func (f *Finder) Forget(nsid int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	delete(f.known, nsid)
	delete(f.missed, nsid)
}

// ForgetAll drops all that is known. It is for when an RTM_DELNSID may have been
// lost. A walk may follow at once.
func (f *Finder) ForgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	clear(f.known)
	clear(f.missed)
}

// foreign returns an nsid as it is of use: the own namespace's is as none.
func (f *Finder) foreign(nsid int32) int32 {
	if nsid < 0 || nsid == f.own {
		return none
	}
	return nsid
}

// maxTries is how often a query is repeated because an nsid was forgotten during it.
// It takes some 20 µs, so that is rare even when namespaces die by the hundreds.
const maxTries = 4

// query asks what nsid a process's namespace has and notes the owner. The error
// is errGone if the process is no longer what still says.
func (f *Finder) query(r *reader, c Container, from source, pid int, still func() bool) (int32, uint64, error) {
	for range maxTries {
		epoch := f.currentEpoch()
		nsid, err := r.kernel.byProcess(pid, still)
		if err != nil {
			return none, 0, err
		}
		if nsid = f.foreign(nsid); nsid == none {
			return none, 0, nil
		}
		if stamp, ok := f.note(nsid, c, from, epoch); ok {
			return nsid, stamp, nil
		}
	}
	return none, 0, errGone
}

// currentEpoch returns the epoch: an answer of the kernel counts if it is the same afterwards.
func (f *Finder) currentEpoch() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch
}

// note puts an owner into the map, unless something was forgotten since the epoch:
// it might be this nsid. Of several owners the one that was found in the best way
// stays, then the first: containers may share a namespace.
func (f *Finder) note(nsid int32, c Container, from source, epoch uint64) (stamp uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch != epoch {
		return 0, false
	}
	old, found := f.known[nsid]
	if found && old.from >= from {
		return old.stamp, true
	}
	if !found && len(f.known) >= maxKnown {
		for other := range f.known {
			delete(f.known, other)
			f.epoch++ // it is forgotten
			break
		}
	}
	f.stamp++
	f.known[nsid] = entry{Container: c, from: from, stamp: f.stamp}
	delete(f.missed, nsid)
	return f.stamp, true
}
