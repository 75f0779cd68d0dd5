package containers

import (
	"errors"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Facilities that may be missing, in the order of Missing.
const (
	missingCgroup = iota
	missingStates
	missingPids
	missingLimit
	missingWatch
	missingPidfd
	missingNetns
	missingKinds
)

// missingLines say what does not work without each facility.
var missingLines = [missingKinds]string{
	missingCgroup: "cgroups: no hierarchy can be read: no containers are recognised, only named network namespaces",
	missingStates: "cgroup v2: not mounted: states of containers are known only if a manager reports them",
	missingPids:   "host's pid namespace: not ours: processes of containers are invisible, so owners of interfaces are not known (use docker run --pid=host or the like)",
	missingLimit:  "cgroups: too many: containers beyond the limit are not recognised",
	missingWatch:  "inotify: not all cgroups can be watched (fs.inotify.max_user_watches, max_user_instances): new containers are found late or never, and changes of state are missed",
	missingPidfd:  "pidfd_open: not supported or not allowed: owners of interfaces are not known",
	missingNetns:  "named network namespaces: cannot be listed, so they are not recognised",
}

// Missing returns a line for each missing capability or facility, with what does not work without it, in
// a fixed order. It names no container.
func (t *Tracker) Missing() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for kind, detail := range t.missing {
		if detail != "" {
			lines = append(lines, missingLines[kind]+" ("+detail+")")
		}
	}
	return lines
}

// setMissing notes that a facility is missing, and logs that if it is new, at most once in faultsFor. With an empty
// detail the facility is not missing any more. The detail may have paths, and so any bytes.
func (t *Tracker) setMissing(kind int, detail string) {
	detail = show(detail)
	old := t.missing[kind]
	t.missing[kind] = detail
	if now := time.Now(); detail != "" && old == "" && now.Sub(t.loggedAt[kind]) >= faultsFor {
		t.loggedAt[kind] = now
		t.log.Warn("containers cannot be watched completely", slog.String("missing", missingLines[kind]), slog.String("detail", detail))
	}
}

// updateMissingWatches notes whether cgroups of the system have no watch. Cgroups of users beyond the
// limit are not worth a note.
func (t *Tracker) updateMissingWatches() {
	switch w := t.system; {
	case w.err != nil:
		t.setMissing(missingWatch, w.err.Error())
	case w.limited:
		t.setMissing(missingWatch, "more than "+strconv.Itoa(maxWatches)+" cgroups")
	default:
		t.setMissing(missingWatch, "")
	}
}

// probe tries each facility.
func (t *Tracker) probe() {
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err != nil {
		t.setMissing(missingPidfd, err.Error())
	} else {
		closeFD(fd)
	}
	if dir, err := os.Open(t.config.Netns); err == nil {
		_ = dir.Close()
	} else if !errors.Is(err, unix.ENOENT) {
		t.setMissing(missingNetns, err.Error())
	}
}

// logFault logs at most maxFaults errors in faultsFor, each once, because the owner of a cgroup could
// cause ever new ones.
const (
	maxFaults = 16
	faultsFor = time.Hour
)

// faults are the errors that were logged since a time.
type faults struct {
	logged map[string]struct{}
	since  time.Time
}

// logFault logs an error that is not returned. It ignores that a process or a cgroup is gone.
func (t *Tracker) logFault(err error) {
	for _, usual := range []error{unix.ENOENT, unix.ESRCH, unix.ENODEV} {
		if errors.Is(err, usual) {
			return
		}
	}
	f := &t.faults
	if now := time.Now(); f.logged == nil || now.Sub(f.since) >= faultsFor {
		f.logged, f.since = map[string]struct{}{}, now
	}
	text := show(err.Error())
	if _, again := f.logged[text]; again || len(f.logged) >= maxFaults {
		return
	}
	f.logged[text] = struct{}{}
	t.log.Warn("the owner of a network namespace or the state of a container may stay unknown", slog.String("error", text), slog.Bool("no_more_for_an_hour", len(f.logged) == maxFaults))
}
