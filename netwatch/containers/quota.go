package containers

// Limits of one user. What a user makes beyond them is not looked at, which costs nobody else anything.
const (
	maxPerUser     = 256  // containers
	maxUserCgroups = 1024 // other cgroups, each of which takes a watch
	maxUserAsks    = 8    // containers of all users that are asked for their nsid while the Tracker is locked
	maxUserLooks   = 4096 // names that are read from directories while the Tracker is locked
)

// usage is what one user's cgroups take.
type usage struct {
	containers, cgroups, looks int
	beyond                     bool // a limit was reached, so there is more than is known
}

// usageOf returns what a user's cgroups take.
func (t *Tracker) usageOf(user uint32) *usage {
	u := t.perUser[user]
	if u == nil {
		u = &usage{}
		t.perUser[user] = u
	}
	return u
}

// renewLooks lets every user's directories be listed again.
func (t *Tracker) renewLooks() {
	for user, u := range t.perUser {
		if u.looks = 0; u.containers == 0 && u.cgroups == 0 {
			delete(t.perUser, user)
		}
	}
}

// mayLook counts a name in a directory of a user, and reports whether it may be looked at.
func (t *Tracker) mayLook(user uint32) bool {
	if user == 0 {
		return true
	}
	u := t.usageOf(user)
	if u.looks >= maxUserLooks {
		u.beyond = true
		return false
	}
	u.looks++
	return true
}

// mayWatch reports whether a user may have another cgroup watched.
func (t *Tracker) mayWatch(user uint32) bool {
	if user == 0 {
		return true
	}
	u := t.usageOf(user)
	u.beyond = u.beyond || u.cgroups >= maxUserCgroups
	return u.cgroups < maxUserCgroups
}

// countCgroup counts a cgroup of a user, or with -1 one that is gone.
func (t *Tracker) countCgroup(user uint32, n int) {
	if user != 0 {
		t.usageOf(user).cgroups += n
	}
	if n < 0 {
		t.makeRoom(user)
	}
}

// makeRoom is called when a cgroup of a user is gone. It has users' cgroups be looked at again if there
// was no room for some of them.
func (t *Tracker) makeRoom(user uint32) {
	if user != 0 && (t.usageOf(user).beyond || t.users.beyond) {
		t.users.overflowed = true
	}
}
