package owner

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Kinds of what may be missing, in the order of Missing.
const (
	lackQuery = iota
	lackCgroup
	lackLimit
	lackWatch
	lackProc
	lackPidfd
	lackNetns
	lackKinds
)

// costs says what is lost by each.
var costs = [lackKinds]string{
	lackQuery:  "RTM_GETNSID: the kernel does not say which namespace has which id: no container is recognised",
	lackCgroup: "cgroups: no hierarchy can be read: only named network namespaces are recognised, no containers",
	lackLimit:  "cgroups: there are too many: containers beyond the limit are recognised late, by their processes, if at all",
	lackWatch:  "inotify: not all cgroups can be watched (fs.inotify.max_user_watches, max_user_instances): new containers are found by walks over all cgroups, more slowly, and may be gone by then",
	lackProc:   "CAP_SYS_PTRACE: /proc hides processes of others (hidepid): of a container that has several network namespaces only one is recognised",
	lackPidfd:  "pidfd_open: not there or not allowed: a process id that is reused within microseconds may name the wrong container",
	lackNetns:  "named network namespaces: cannot be listed: they are not recognised",
}

// Missing returns a line for each capability or facility that was found to be
// missing, with what that costs, in a fixed order. There are no lines for
// CAP_NET_ADMIN and CAP_SYS_ADMIN, as nothing here needs them, and one for
// CAP_SYS_PTRACE only where /proc hides processes without it.
func (f *Finder) Missing() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for kind, detail := range f.lacks {
		if detail == "" && (kind != lackPidfd || f.kernel.guarded()) {
			continue
		}
		line := costs[kind]
		if detail != "" {
			line += " (" + detail + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

// lack notes that something is missing, with what was seen; with "" that it is not.
// It is logged when it is new. The detail may hold paths, and so any bytes.
func (f *Finder) lack(kind int, detail string) {
	detail = show(detail)
	f.mu.Lock()
	old := f.lacks[kind]
	f.lacks[kind] = detail
	f.mu.Unlock()
	if detail != "" && old == "" {
		f.log.Warn("something is missing to find owners", slog.String("what", costs[kind]), slog.String("detail", detail))
	}
}

// lackWatches notes whether watches were missing in a whole pass.
func (f *Finder) lackWatches() {
	if f.watches.err != nil {
		f.lack(lackWatch, f.watches.err.Error())
		return
	}
	f.lack(lackWatch, "")
}

// probe finds out what is missing by trying.
func (f *Finder) probe() {
	if _, err := f.kernel.self(); err != nil {
		f.lack(lackQuery, err.Error())
	}
	f.mountHierarchies()
	// Process 1 is somebody else's, and always there.
	if _, err := f.readFile(f.proc + "/1/status"); err != nil {
		f.lack(lackProc, strings.TrimSpace(err.Error()+" "+f.capability(unix.CAP_SYS_PTRACE)))
	}
	if _, err := f.kernel.byProcess(os.Getpid(), func() bool { return true }); err != nil {
		f.fault(err)
	}
	if !f.kernel.guarded() {
		f.log.Warn("something is missing to find owners", slog.String("what", costs[lackPidfd]))
	}
	if _, err := os.ReadDir(f.config.Netns); err != nil {
		f.lackNames(err)
	}
}

// mountHierarchies finds the cgroups. It is done again by walks while there are none.
func (f *Finder) mountHierarchies() {
	found, err := findHierarchies(f.proc, f.config.Cgroup)
	if err != nil {
		f.lack(lackCgroup, err.Error())
		return
	}
	f.lack(lackCgroup, "")
	f.hierarchies = found
	for _, h := range found {
		if _, err := os.ReadDir(h.dir); err != nil {
			f.lack(lackCgroup, err.Error())
		}
	}
}

// capability returns what to add to an error if we do not have a capability.
func (f *Finder) capability(bit uint) string {
	text, err := os.ReadFile(filepath.Join(f.proc, "self/status"))
	if err != nil {
		return ""
	}
	_, line, _ := strings.Cut(string(text), "\nCapEff:")
	line, _, _ = strings.Cut(line, "\n")
	caps, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil || caps>>bit&1 == 1 {
		return ""
	}
	return "and the capability is not effective"
}
