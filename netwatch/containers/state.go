package containers

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// State is the state of a container according to its cgroups.
type State string

// The states. A container whose cgroup never had a process has none: "".
const (
	Running State = "running"
	Frozen  State = "frozen" // by the freezer of cgroup v2; that of v1 is not seen
	Stopped State = "stopped"
)

// StateChange is a change of the state of a container.
type StateChange struct {
	Container Container
	From, To  State
	Resync    bool // found by comparing, not seen live
}

// standing is what the cgroups of one name say together.
type standing struct {
	cgroups []*container
	told    State
}

// state returns the state of a container. Of several cgroups the one that has processes counts, of
// several of these the one with the smallest inode.
func (s *standing) state() State {
	var counts *container
	for _, c := range s.cgroups {
		if c.populated && c.named && !c.rule.reports && (counts == nil || c.node.ino < counts.node.ino) {
			counts = c
		}
	}
	switch {
	case counts == nil && s.told == "":
		return ""
	case counts == nil:
		return Stopped
	case counts.frozen:
		return Frozen
	}
	return Running
}

// silent reports whether a cgroup does not say whether the container runs.
func (c *container) silent() bool { return !c.node.h.v2 || c.rule.reports || c.populated && !c.named }

// takeState reads the state of a container from its cgroup, and asks it for its nsid if processes
// may have come.
func (t *Tracker) takeState(c *container) {
	frozen := c.frozen
	if c.node.h.v2 {
		t.readState(c)
		t.tellState(c.Container)
	}
	switch {
	case c.empty():
		delete(t.unsettled, c)
		before := c.nsid
		c.process, c.nsid = process{}, none
		t.changed(c, before)
	case frozen == c.frozen:
		t.unsettle(c)
	}
}

// readState reads cgroup.events. If that fails, what was known holds until the cgroup is gone.
func (t *Tracker) readState(c *container) {
	text, err := readFile(c.node.dir() + "/cgroup.events")
	if err != nil {
		t.fault(err)
		return
	}
	c.populated, c.frozen = bytes.Contains(text, []byte("populated 1")), bytes.Contains(text, []byte("frozen 1"))
}

// compareStates reads the states of all containers of an instance.
func (t *Tracker) compareStates(w *watches) {
	for _, c := range t.containers {
		if !c.node.h.v2 || t.of(c.node.within) != w {
			continue
		}
		if c.watch == 0 {
			t.watchEvents(c)
		}
		was := c.populated
		if t.readState(c); c.populated != was {
			t.takeState(c)
		}
		t.tellState(c.Container)
	}
}

// enter counts a cgroup among those of its name.
func (t *Tracker) enter(c *container) {
	s := t.standings[c.Container]
	if s == nil {
		s = &standing{}
		t.standings[c.Container] = s
	}
	s.cgroups = append(s.cgroups, c)
}

// leave takes a cgroup out again, and tells what that changes.
func (t *Tracker) leave(c *container) {
	s := t.standings[c.Container]
	s.cgroups = slices.DeleteFunc(s.cgroups, func(other *container) bool { return other == c })
	t.tellState(c.Container)
}

// tellState tells the state of a container if that is another one, and forgets a container without
// cgroups once its end was told.
func (t *Tracker) tellState(name Container) {
	s := t.standings[name]
	is := s.state()
	if is != s.told && t.tellChange != nil {
		change := StateChange{Container: name, From: s.told, To: is, Resync: t.comparing}
		s.told = is
		t.tellChange(change)
	}
	if len(s.cgroups) == 0 && s.told == is {
		delete(t.standings, name)
	}
}

// Begin compares a list of containers that ran with the cgroups. It returns the changes from the list to
// the current states, sorted by pool and id: of all containers that run, and of those in the list that
// stopped. [Tracker.Run] reports later changes.
//
// The value in listed is true if a Tracker reported that the container runs. Begin reports other
// containers as stopped only if the table has their pool and leaves their states to the Tracker. It never
// reports a container as stopped that may run unseen, such as one beyond a limit.
func (t *Tracker) Begin(listed map[Container]bool) (changes []StateChange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.standings {
		if s.told = s.state(); s.told != "" {
			changes = append(changes, StateChange{Container: name, To: s.told, Resync: true})
		}
	}
	blind := t.findBlindSpots()
	for name, told := range listed {
		s := t.standings[name]
		switch {
		case blind(name) || !told && !t.tells(name.Pool):
		case s == nil, s.told == "" && !slices.ContainsFunc(s.cgroups, (*container).silent):
			changes = append(changes, StateChange{Container: name, From: Running, To: Stopped, Resync: true})
		}
	}
	slices.SortFunc(changes, func(a, b StateChange) int {
		return cmp.Or(strings.Compare(a.Container.Pool, b.Container.Pool), strings.Compare(a.Container.ID, b.Container.ID))
	})
	return changes
}

// findBlindSpots returns a function that says of which containers it cannot be known that they
// stopped: those that may be beyond a limit, and those that a cgroup may turn out to be whose monitor
// has not said its name yet.
func (t *Tracker) findBlindSpots() func(name Container) bool {
	var unnamed []Container
	for _, c := range t.containers {
		if c.populated && !c.named {
			unnamed = append(unnamed, c.Container)
		}
	}
	sees := slices.ContainsFunc(t.hierarchies, func(h *hierarchy) bool { return h.v2 })
	return func(name Container) bool {
		_, user, ofUser := strings.Cut(name.Pool, "@")
		uid, _ := strconv.ParseUint(user, 10, 32) // 0 if it is no number: no user's
		u := t.perUser[uint32(uid)]
		full := u != nil && u.beyond || t.users.beyond || t.users.err != nil
		mayBe := func(c Container) bool { return c.Pool == name.Pool && strings.HasPrefix(c.ID, name.ID) }
		return !sees || t.lacks[lackLimit] != "" || ofUser && full || slices.ContainsFunc(unnamed, mayBe)
	}
}

// tells reports whether a pool is one of the table, or a user's, whose containers' states are told.
func (t *Tracker) tells(pool string) bool {
	pool, _, _ = strings.Cut(pool, "@")
	return pool != "" && slices.ContainsFunc(t.rules, func(m matcher) bool { return m.pool == pool && !m.reports })
}
