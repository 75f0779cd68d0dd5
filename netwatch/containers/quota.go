package containers

import "time"

// Limits of one user. Cgroups beyond them are ignored, so they cost other users nothing.
const (
	maxPerUser     = 256  // containers
	maxUserCgroups = 1024 // other cgroups; each takes a watch
	maxUserAsks    = 2    // nsids that are asked for while the Tracker is locked, for all users together
	maxUserNames   = 4096 // names that are read from directories while the Tracker is locked
)

// usage counts the containers and cgroups of one user, and the names that were read for that user.
type usage struct {
	containers, cgroups, names int
	limited                    bool      // a limit was reached, so some cgroups are not known
	askAfter                   time.Time // when a pending container of the user may be asked again
}

// usageOf returns the usage of a user.
func (t *Tracker) usageOf(user uint32) *usage {
	u := t.perUser[user]
	if u == nil {
		u = &usage{}
		t.perUser[user] = u
	}
	return u
}

// resetNames allows each user maxUserNames names again, and drops unused usages.
func (t *Tracker) resetNames() {
	for user, u := range t.perUser {
		if u.names = 0; u.containers == 0 && u.cgroups == 0 {
			delete(t.perUser, user)
		}
	}
}

// mayReadName counts a name in a directory of a user, and reports whether it is within the limit.
func (t *Tracker) mayReadName(user uint32) bool {
	if user == 0 {
		return true
	}
	u := t.usageOf(user)
	if u.names >= maxUserNames {
		u.limited = true
		return false
	}
	u.names++
	return true
}

// mayWatch reports whether a user may have another cgroup watched.
func (t *Tracker) mayWatch(user uint32) bool {
	if user == 0 {
		return true
	}
	u := t.usageOf(user)
	u.limited = u.limited || u.cgroups >= maxUserCgroups
	return u.cgroups < maxUserCgroups
}

// countCgroup adds n to the number of a user's cgroups: 1 for a new cgroup, -1 for one that is gone.
func (t *Tracker) countCgroup(user uint32, n int) {
	if user != 0 {
		t.usageOf(user).cgroups += n
	}
	if n < 0 {
		t.makeRoom(user)
	}
}

// makeRoom is called when a cgroup of a user is gone. If a limit was reached, it makes follow scan the
// cgroups of users again.
func (t *Tracker) makeRoom(user uint32) {
	if user != 0 && (t.usageOf(user).limited || t.users.limited) {
		t.users.overflowed = true
	}
}
