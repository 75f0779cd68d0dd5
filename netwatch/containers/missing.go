package containers

import (
	"errors"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of what may be missing, in the order of Missing.
const (
	lackQuery = iota
	lackCgroup
	lackStates
	lackPids
	lackLimit
	lackWatch
	lackPidfd
	lackNetns
	lackKinds
)

// costs says what is lost by each.
var costs = [lackKinds]string{
	lackQuery:  "RTM_GETNSID: the kernel does not say which namespace has which id: no container is recognised",
	lackCgroup: "cgroups: no hierarchy can be read: only named network namespaces are recognised, no containers",
	lackStates: "cgroup v2: not mounted: states of containers are not seen: only those that a manager reports are known",
	lackPids:   "the host's pid namespace: processes of containers are not seen: owners of interfaces are not known (docker run --pid=host, and the like)",
	lackLimit:  "cgroups: there are too many: containers beyond the limit are not recognised",
	lackWatch:  "inotify: not all cgroups can be watched (fs.inotify.max_user_watches, max_user_instances): new containers are found late, and may be gone by then, and states are not seen",
	lackPidfd:  "pidfd_open: not there or not allowed: owners of interfaces are not known",
	lackNetns:  "named network namespaces: cannot be listed: they are not recognised",
}

// Missing returns a line for each missing capability or facility, with what does not work without it, in
// a fixed order. It names no container.
func (t *Tracker) Missing() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for kind, detail := range t.lacks {
		if detail != "" {
			lines = append(lines, costs[kind]+" ("+detail+")")
		}
	}
	return lines
}

// lack notes that something is missing, with what was seen; with "" that it is not. It is logged
// when it is new. The detail may hold paths, and so any bytes.
func (t *Tracker) lack(kind int, detail string) {
	detail = show(detail)
	old := t.lacks[kind]
	t.lacks[kind] = detail
	if detail != "" && old == "" {
		t.log.Warn("something is missing to watch containers", slog.String("what", costs[kind]), slog.String("detail", detail))
	}
}

// lackWatches notes whether watches of the system's cgroups are missing. What users make beyond the
// limit is their own loss.
func (t *Tracker) lackWatches() {
	switch w := t.system; {
	case w.err != nil:
		t.lack(lackWatch, w.err.Error())
	case w.beyond:
		t.lack(lackWatch, "more than "+strconv.Itoa(maxWatches)+" cgroups")
	default:
		t.lack(lackWatch, "")
	}
}

// probe finds out what is missing by trying.
func (t *Tracker) probe() {
	if _, err := t.ids.GetNetNsIdByFd(int(t.namespace.Fd())); err != nil {
		t.lack(lackQuery, err.Error())
	}
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err != nil {
		t.lack(lackPidfd, err.Error())
	} else {
		closeFD(fd)
	}
	if dir, err := os.Open(t.config.Netns); err == nil {
		_ = dir.Close()
	} else if !errors.Is(err, unix.ENOENT) {
		t.lack(lackNetns, err.Error())
	}
}

// Of errors that nobody else hears of this many are logged in that time, each once: who owns a
// cgroup could make ever new ones.
const (
	maxFaults = 16
	faultsFor = time.Hour
)

// faults are the errors that were logged lately.
type faults struct {
	said  map[string]struct{}
	since time.Time
}

// fault logs an error that nobody else hears of. That a process or a cgroup is gone is none.
func (t *Tracker) fault(err error) {
	for _, usual := range []error{unix.ENOENT, unix.ESRCH, unix.ENODEV} {
		if errors.Is(err, usual) {
			return
		}
	}
	f := &t.faults
	if now := time.Now(); f.said == nil || now.Sub(f.since) >= faultsFor {
		f.said, f.since = map[string]struct{}{}, now
	}
	text := show(err.Error())
	if _, again := f.said[text]; again || len(f.said) >= maxFaults {
		return
	}
	f.said[text] = struct{}{}
	t.log.Warn("owner of a network namespace, or state of a container, may stay unknown", slog.String("error", text), slog.Bool("others_unsaid_for_an_hour", len(f.said) == maxFaults))
}
