package containers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/rtnl"
)

// none is the nsid of a namespace that has none here.
const none = rtnl.NSIDUnknown

// Config is what a Tracker needs.
type Config struct {
	Log *slog.Logger // nil: nothing is logged

	Cgroup string // the root of the only hierarchy; if empty, /proc/self/mountinfo says which there are
	Netns  string // the directory of named namespaces; /run/netns if empty
}

// Tracker knows the containers. Its methods are safe for concurrent use.
type Tracker struct {
	config Config
	log    *slog.Logger
	rules  []matcher
	ids    *netlink.Handle // in the network namespace whose nsids count
	kick   chan struct{}

	mu          sync.Mutex
	closed      bool
	hierarchies []*hierarchy
	system      *watches // of directories that belong to root, as do all above
	users       *watches // of other directories
	containers  map[*node]*container
	room        int                           // how many more containers the system may have
	groups      map[Container]*group          // by name
	perUser     map[uint32]*usage             // by uid
	pending     map[*container]struct{}       // are asked again until they have an nsid
	onNSID      func(c Container, nsid int32) // see Run
	onState     func(StateChange)             // see Run
	comparing   bool                          // changes that are found now were not seen live
	queryAfter  time.Time                     // when new containers may be asked again
	searchAfter time.Time                     // when all containers may be asked again
	names       map[int32]string              // named namespaces by nsid, as of the last search
	missing     [missingKinds]string
	loggedAt    [missingKinds]time.Time // when missing was logged
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
		config: config, log: config.Log, rules: matchers, kick: make(chan struct{}, 1),
		containers: map[*node]*container{}, room: maxContainers, groups: map[Container]*group{}, perUser: map[uint32]*usage{}, pending: map[*container]struct{}{},
		system: openWatches(0), users: openWatches(userEvents),
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

// mount finds the hierarchies and lists all cgroups in them.
func (t *Tracker) mount() {
	found, err := findHierarchies("/proc", t.config.Cgroup)
	if err != nil {
		t.setMissing(missingCgroup, err.Error())
		return
	}
	t.setMissing(missingCgroup, "")
	if !slices.ContainsFunc(found, func(h *hierarchy) bool { return h.v2 }) {
		t.setMissing(missingStates, "only v1 is mounted")
	}
	t.comparing = true
	defer func() { t.comparing = false }()
	t.hierarchies = found
	for _, h := range found {
		h.top = &node{h: h, kids: map[string]*node{}}
		t.watch(h.top)
		t.list(h.top)
	}
	t.updateMissingWatches()
	t.queryPending(time.Now())
}

// Close closes what New opened. Run must have returned.
func (t *Tracker) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.ids != nil {
		t.ids.Close()
	}
	return errors.Join(t.system.close(), t.users.close())
}

// Run follows the cgroups until ctx is done. changed is called when a container ended or its nsid changed, with the
// old and the new nsid. nsid is [rtnl.NSIDUnknown] if it had none. state is called for each change of a container's
// state since Begin. Neither function may call the Tracker.
func (t *Tracker) Run(ctx context.Context, changed func(c Container, nsid int32), state func(StateChange)) {
	t.mu.Lock()
	t.onNSID, t.onState = changed, state
	for name := range t.groups {
		t.notifyState(name)
	}
	t.mu.Unlock()
	var all sync.WaitGroup
	for _, w := range []*watches{t.system, t.users} {
		all.Go(func() { t.follow(ctx, w) })
	}
	all.Go(func() { t.runQueries(ctx) })
	all.Wait()
}

// follow handles the events of an inotify instance until ctx is done.
func (t *Tracker) follow(ctx context.Context, w *watches) {
	stop := context.AfterFunc(ctx, func() { w.interrupt() })
	defer stop()
	for ctx.Err() == nil && w.wait(func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.readWatches(w)
	}) {
		if w == t.users {
			t.rescanUsers(ctx)
		}
	}
}

// rescanUsers scans the cgroups of users again, with pauses, until it missed none within the limits.
func (t *Tracker) rescanUsers(ctx context.Context) {
	for ctx.Err() == nil {
		begun := time.Now()
		if !t.rescanIfOverflowed(t.users) {
			return
		}
		select {
		case <-time.After(max(userPause, searchShare*time.Since(begun))):
		case <-ctx.Done():
		}
	}
}

// runQueries asks for the nsids of pending containers until ctx is done.
func (t *Tracker) runQueries(ctx context.Context) {
	for {
		t.mu.Lock()
		next := t.queryPending(time.Now())
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

// queryPending asks for the nsids of the pending containers whose pause is over, but of at most
// maxUserAsks containers of users. It returns when the next pause is over; the zero Time is never.
func (t *Tracker) queryPending(now time.Time) (next time.Time) {
	ofUsers := 0
	for c := range t.pending {
		ofUser := c.node.within != 0
		if !now.Before(t.askAt(c)) && (!ofUser || ofUsers < maxUserAsks) {
			begun := time.Now()
			t.queryOne(c, now)
			if ofUser {
				// The number of users counts, so that many users cannot keep the Tracker locked together.
				t.usageOf(c.node.within).askAfter = pauseAfter(begun, queryShare*len(t.perUser))
				ofUsers++
			}
		}
		if _, left := t.pending[c]; !left {
			continue
		}
		at := t.askAt(c)
		if at.Before(now) {
			at = now
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// askAt returns when a pending container may be asked: after its own pause, and after that of its user, who can make
// as many queries due as they like.
func (t *Tracker) askAt(c *container) time.Time {
	at := c.retryAt
	if c.node.within != 0 {
		if after := t.usageOf(c.node.within).askAfter; at.Before(after) {
			at = after
		}
	}
	return at
}

// queryOne asks for the nsid of a pending container, and begins its next pause if it has none.
func (t *Tracker) queryOne(c *container, now time.Time) {
	if c.empty() {
		delete(t.pending, c)
		return
	}
	if c.tries == 0 {
		t.queryNSID(c)
	} else {
		t.refreshNSID(c)
	}
	if c.nsid == none && c.tries < len(askPauses) {
		c.retryAt = now.Add(askPauses[c.tries])
		c.tries++
		return
	}
	delete(t.pending, c)
}

// queueQuery makes a container pending, without a pause.
func (t *Tracker) queueQuery(c *container) {
	c.tries, c.retryAt = 0, time.Time{}
	t.pending[c] = struct{}{}
	select {
	case t.kick <- struct{}{}:
	default: // runQueries wakes up anyway
	}
}

// queueRefresh makes a container pending for one question, without a pause. If it is pending already, this ends only
// its present pause.
func (t *Tracker) queueRefresh(c *container) {
	tries := len(askPauses)
	if _, pending := t.pending[c]; pending {
		tries = c.tries
	}
	t.queueQuery(c)
	c.tries = tries
}

// toNSID returns the kernel's answer as an nsid. A namespace without an nsid has -1 there.
func toNSID(answer int) int32 {
	if answer < 0 {
		return none
	}
	return int32(answer) //nolint:gosec // the kernel counts in int
}
