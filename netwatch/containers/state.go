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

// group has the cgroups of one container. There are several on a hybrid system, and while an old cgroup
// is left over.
type group struct {
	cgroups  []*container
	notified State // the last state that was notified
}

// state returns the state of a container. Of its cgroups with processes, the one with the smallest inode
// counts. While the name of a populated cgroup is not certain, the container keeps its last state.
func (s *group) state() State {
	var counts *container
	unsure := false
	for _, c := range s.cgroups {
		unsure = unsure || c.populated && !c.named
		if c.populated && c.named && !c.rule.reports && (counts == nil || c.node.ino < counts.node.ino) {
			counts = c
		}
	}
	switch {
	case counts == nil && (unsure || s.notified == ""):
		return s.notified
	case counts == nil:
		return Stopped
	case counts.frozen:
		return Frozen
	}
	return Running
}

// stateless reports whether a cgroup does not show whether its container runs.
func (c *container) stateless() bool {
	return !c.node.h.v2 || c.rule.reports || c.populated && !c.named
}

// updateState reads the state of a container from its cgroup. If processes may have entered the cgroup,
// it queues a query for the nsid.
func (t *Tracker) updateState(c *container) {
	frozen := c.frozen
	if c.node.h.v2 {
		t.readState(c)
		t.notifyState(c.Container)
	}
	switch {
	case c.empty():
		delete(t.pending, c)
		before := c.nsid
		c.process, c.nsid = process{}, none
		t.notifyNSID(c, before)
	case frozen == c.frozen:
		t.queueQuery(c)
	}
}

// readState reads cgroup.events. If that fails, the old values hold until the cgroup is gone.
func (t *Tracker) readState(c *container) {
	text, err := readFile(c.node.dir()+"/cgroup.events", 4<<10)
	if err != nil {
		t.logFault(err)
		return
	}
	c.populated, c.frozen = bytes.Contains(text, []byte("populated 1")), bytes.Contains(text, []byte("frozen 1"))
}

// compareStates reads the states of all containers of an instance.
func (t *Tracker) compareStates(w *watches) {
	for _, c := range t.containers {
		if !c.node.h.v2 || t.watchesOf(c.node.within) != w {
			continue
		}
		if c.watch == 0 {
			t.watchEvents(c)
		}
		was := c.populated
		if t.readState(c); c.populated != was {
			t.updateState(c)
		}
		t.notifyState(c.Container)
	}
}

// joinGroup adds a cgroup to the group of its container.
func (t *Tracker) joinGroup(c *container) {
	s := t.groups[c.Container]
	if s == nil {
		s = &group{}
		t.groups[c.Container] = s
	}
	s.cgroups = append(s.cgroups, c)
}

// leaveGroup removes a cgroup from the group of its container, which may change the state.
func (t *Tracker) leaveGroup(c *container) {
	s := t.groups[c.Container]
	s.cgroups = slices.DeleteFunc(s.cgroups, func(other *container) bool { return other == c })
	t.notifyState(c.Container)
}

// notifyState calls onState if the state of a container changed. It drops the group of a container
// without cgroups after the end was notified.
func (t *Tracker) notifyState(name Container) {
	s := t.groups[name]
	is := s.state()
	if is != s.notified && t.onState != nil {
		change := StateChange{Container: name, From: s.notified, To: is, Resync: t.comparing}
		s.notified = is
		t.onState(change)
	}
	if len(s.cgroups) == 0 && s.notified == is {
		delete(t.groups, name)
	}
}

// Begin compares a list of containers that were Running or Frozen with the cgroups. It returns the changes from the
// list to the current states, sorted by pool and id: of all containers that run, and of those in the list that
// stopped. [Tracker.Run] reports later changes.
//
// Begin reports a container as stopped only if the table has its pool and leaves its state to the Tracker, and never
// if the Tracker may not see its cgroup, for example because of a limit.
func (t *Tracker) Begin(listed map[Container]State) (changes []StateChange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.groups {
		if s.notified = s.state(); s.notified != "" {
			changes = append(changes, StateChange{Container: name, To: s.notified, Resync: true})
		}
	}
	blind := t.findBlindSpots()
	for name, before := range listed {
		s := t.groups[name]
		if s != nil && s.notified == "" && slices.ContainsFunc(s.cgroups, func(c *container) bool { return c.populated && !c.named }) {
			s.notified = before // so that a change from it is reported
		}
		switch {
		case blind(name) || !t.followsStates(name.Pool):
		case s == nil, s.notified == "" && !slices.ContainsFunc(s.cgroups, (*container).stateless):
			changes = append(changes, StateChange{Container: name, From: before, To: Stopped, Resync: true})
		}
	}
	slices.SortFunc(changes, func(a, b StateChange) int {
		return cmp.Or(strings.Compare(a.Container.Pool, b.Container.Pool), strings.Compare(a.Container.ID, b.Container.ID))
	})
	return changes
}

// findBlindSpots returns a function that reports whether a container may run although the Tracker does not
// see it: its cgroup may be beyond a limit, or its name may not be known yet.
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
		uid, _ := strconv.ParseUint(user, 10, 32) // 0 if it is no number, which is no user
		u := t.perUser[uint32(uid)]
		full := u != nil && u.limited || t.users.limited || t.users.err != nil
		mayBe := func(c Container) bool { return c.Pool == name.Pool && mayBeCalled(c.ID, name.ID) }
		return !sees || t.missing[missingLimit] != "" || ofUser && full || slices.ContainsFunc(unnamed, mayBe)
	}
}

// followsStates reports whether the Tracker reports the states of the containers in a pool.
func (t *Tracker) followsStates(pool string) bool {
	pool, _, _ = strings.Cut(pool, "@")
	return pool != "" && slices.ContainsFunc(t.rules, func(m matcher) bool { return m.pool == pool && !m.reports })
}
