package containers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// none is the nsid of a namespace that has none here.
const none int32 = -1

// Config is what a Tracker needs.
type Config struct {
	Log *slog.Logger // nil: nothing is logged

	// Cgroup is where cgroups are mounted: a hierarchy, a cgroup in one (which is taken for its
	// root then), or a directory with unified, systemd and the like in it. Empty means where
	// /proc/self/mountinfo says.
	Cgroup string
	Netns  string // where namespaces are bound to files by name; empty means /run/netns
}

// Tracker knows the containers. Its methods are safe for concurrent use.
type Tracker struct {
	config    Config
	log       *slog.Logger
	rules     []matcher
	ids       *netlink.Handle
	namespace *os.File // the one that counts nsids
	kick      chan struct{}

	mu          sync.Mutex
	closed      bool
	own         int32 // nsid of the namespace that counts, in itself
	hierarchies []*hierarchy
	system      *watches // of directories that are root's all the way up
	users       *watches // of others
	containers  map[*node]*container
	room        int                           // for so many more of the system
	standings   map[Container]*standing       // by name
	perUser     map[uint32]*usage             // what the cgroups of each user take
	unsettled   map[*container]struct{}       // that are asked again until they have an nsid
	tell        func(c Container, nsid int32) // see Run
	tellChange  func(StateChange)             // see Run
	comparing   bool                          // what is found now was not seen live
	lookAfter   time.Time                     // when new containers may be asked again
	searchAfter time.Time                     // when all containers may be asked again
	lacks       [lackKinds]string
	faults      faults
}

// New opens a socket for questions in the network namespace of the calling thread, whose nsids count, and
// reads all cgroups. A missing capability or mount of cgroups is no error: see [Tracker.Missing]. Close
// must follow.
func New(config Config) (*Tracker, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Netns == "" {
		config.Netns = "/run/netns"
	}
	matchers, err := compile(rules())
	if err != nil {
		return nil, err
	}
	t := &Tracker{
		config: config, log: config.Log, rules: matchers, own: none, kick: make(chan struct{}, 1),
		containers: map[*node]*container{}, room: maxContainers, standings: map[Container]*standing{}, perUser: map[uint32]*usage{}, unsettled: map[*container]struct{}{},
		system: openWatches(0), users: openWatches(userEvents),
	}
	if t.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return nil, errors.Join(fmt.Errorf("own network namespace: %w", err), t.Close())
	}
	if t.ids, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(fmt.Errorf("netlink socket: %w", err), t.Close())
	}
	if err := t.ids.SetSocketTimeout(time.Second); err != nil {
		return nil, errors.Join(fmt.Errorf("netlink socket: %w", err), t.Close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.probe()
	t.mount()
	return t, nil
}

// mount finds the hierarchies and looks at all cgroups in them.
func (t *Tracker) mount() {
	found, err := findHierarchies("/proc", t.config.Cgroup)
	if err != nil {
		t.lack(lackCgroup, err.Error())
		return
	}
	t.lack(lackCgroup, "")
	if !slices.ContainsFunc(found, func(h *hierarchy) bool { return h.v2 }) {
		t.lack(lackStates, "only v1 is mounted")
	}
	t.comparing = true
	defer func() { t.comparing = false }()
	t.hierarchies = found
	for _, h := range found {
		h.top = &node{h: h, kids: map[string]*node{}}
		t.watch(h.top)
		t.list(h.top)
	}
	t.lackWatches()
	t.settle(time.Now())
}

// Close closes what New opened. Run must have returned.
func (t *Tracker) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.ids != nil {
		t.ids.Close()
	}
	errs := []error{t.system.close(), t.users.close()}
	if t.namespace != nil {
		errs = append(errs, t.namespace.Close())
	}
	return errors.Join(errs...)
}

// Run follows the cgroups until ctx is done. It calls changed when a container ended or its nsid
// changed: then Owner may return something else for the container and for that nsid. It calls state for
// each change of a container's state since Begin. Neither function may call the Tracker.
func (t *Tracker) Run(ctx context.Context, changed func(c Container, nsid int32), state func(StateChange)) {
	t.mu.Lock()
	t.tell, t.tellChange = changed, state
	for name := range t.standings {
		t.tellState(name)
	}
	t.mu.Unlock()
	var all sync.WaitGroup
	for _, w := range []*watches{t.system, t.users} {
		all.Go(func() { t.follow(ctx, w) })
	}
	all.Go(func() { t.settleLater(ctx) })
	all.Wait()
}

// follow reads what the watches tell until ctx is done.
func (t *Tracker) follow(ctx context.Context, w *watches) {
	stop := context.AfterFunc(ctx, func() { w.interrupt() })
	defer stop()
	for ctx.Err() == nil && w.wait(func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.readWatches(w)
	}) {
		if w == t.users {
			t.recoverUsers(ctx)
		}
	}
}

// recoverUsers looks at users' cgroups anew until all that there is room for are known, with pauses.
func (t *Tracker) recoverUsers(ctx context.Context) {
	for ctx.Err() == nil {
		begun := time.Now()
		if !t.overflowed(t.users) {
			return
		}
		select {
		case <-time.After(max(userPause, searchShare*time.Since(begun))):
		case <-ctx.Done():
		}
	}
}

// settleLater asks containers again that have no nsid yet, until ctx is done.
func (t *Tracker) settleLater(ctx context.Context) {
	for {
		t.mu.Lock()
		next := t.settle(time.Now())
		t.mu.Unlock()
		var alarm <-chan time.Time
		if !next.IsZero() {
			alarm = time.After(time.Until(next))
		}
		select {
		case <-alarm:
		case <-t.kick:
		case <-ctx.Done():
			return
		}
	}
}

// settle asks the containers whose time has come, but only some of users, and returns when the next is
// to be asked; the zero Time is never.
func (t *Tracker) settle(now time.Time) (next time.Time) {
	t.refreshOwn()
	ofUsers := 0
	for c := range t.unsettled {
		ofUser := c.node.within != 0
		if !now.Before(c.again) && (!ofUser || ofUsers < maxUserAsks) {
			if ofUser {
				ofUsers++
			}
			t.settleOne(c, now)
		}
		if _, left := t.unsettled[c]; !left {
			continue
		}
		at := c.again
		if at.Before(now) {
			at = now
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// settleOne asks a container whose time has come.
func (t *Tracker) settleOne(c *container, now time.Time) {
	if t.spare(c) {
		delete(t.unsettled, c)
		return
	}
	if c.tries == 0 {
		t.inquire(c)
	} else {
		t.refresh(c)
	}
	if c.nsid == none && c.tries < len(askPauses) {
		c.again = now.Add(askPauses[c.tries])
		c.tries++
		return
	}
	delete(t.unsettled, c)
}

// unsettle has a container be asked now, and again until it has an nsid.
func (t *Tracker) unsettle(c *container) {
	c.tries, c.again = 0, time.Time{}
	t.unsettled[c] = struct{}{}
	select {
	case t.kick <- struct{}{}:
	default: // there is a token, which is all that is needed
	}
}

// refreshOwn asks for the nsid of the namespace that counts: a process in it is in no container.
func (t *Tracker) refreshOwn() {
	id, err := t.ids.GetNetNsIdByFd(int(t.namespace.Fd()))
	if err != nil {
		t.fault(err)
		return
	}
	t.own = int32(id) //nolint:gosec // the kernel counts in int
}

// foreign returns an nsid as it is of use: the own namespace's is as none.
func (t *Tracker) foreign(nsid int) int32 {
	if nsid < 0 || int32(nsid) == t.own { //nolint:gosec // the kernel counts in int
		return none
	}
	return int32(nsid) //nolint:gosec // the same
}
