package containers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is a mounted cgroup hierarchy, or a part of one.
type hierarchy struct {
	dir string // the mount point
	v2  bool
	top *node
}

// v1Hierarchies are the hierarchies of v1, the best first. One is enough, because a process
// has the same path in each. On a machine without systemd the first may be missing.
var v1Hierarchies = []string{"name=systemd", "memory", "cpu", "pids", "freezer", "devices"}

// mount is a line of /proc/self/mountinfo about a cgroup hierarchy.
type mount struct {
	dir, root string
	v2        bool
	options   []string
}

// findHierarchies returns the hierarchies to watch: that of v2, and one of v1. A
// hybrid system has both, and a process of a container may be in only one of them.
// If Config.Cgroup names a cgroup, that is the only one.
func findHierarchies(proc, cgroup string) ([]*hierarchy, error) {
	if cgroup != "" {
		h, err := hierarchyAt(cgroup)
		return []*hierarchy{h}, err
	}
	mounts, err := readMounts(filepath.Join(proc, "self/mountinfo"))
	if err != nil {
		return nil, err
	}
	var found []*hierarchy
	if m := bestMount(mounts, func(m *mount) bool { return m.v2 }); m != nil {
		found = append(found, &hierarchy{dir: m.dir, v2: true})
	}
	for _, line := range v1Hierarchies {
		m := bestMount(mounts, func(m *mount) bool { return !m.v2 && slices.Contains(m.options, line) })
		if m != nil {
			found = append(found, &hierarchy{dir: m.dir})
			break
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted")
	}
	return found, nil
}

// bestMount returns the mount that shows most of a hierarchy; the first one of equals.
func bestMount(mounts []mount, is func(*mount) bool) *mount {
	var found *mount
	for i := range mounts {
		if m := &mounts[i]; is(m) && (found == nil || len(m.root) < len(found.root)) {
			found = m
		}
	}
	return found
}

// hierarchyAt takes a cgroup for the root of a hierarchy.
func hierarchyAt(cgroup string) (*hierarchy, error) {
	var fs unix.Statfs_t
	_, err := os.Stat(filepath.Join(cgroup, "cgroup.procs"))
	if err = errors.Join(err, unix.Statfs(cgroup, &fs)); err != nil {
		return nil, fmt.Errorf("no cgroup at %s: %w", cgroup, err)
	}
	return &hierarchy{dir: cgroup, v2: fs.Type == unix.CGROUP2_SUPER_MAGIC}, nil
}

// readMounts returns the mounted cgroup hierarchies.
func readMounts(path string) ([]mount, error) {
	text, err := os.ReadFile(path) //nolint:gosec // proc is a mount point or a test's
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	var mounts []mount
	for line := range strings.Lines(string(text)) {
		// 36 35 98:0 /root /dir rw,noatime shared:1 - cgroup2 source rw,nsdelegate
		before, after, found := strings.Cut(line, " - ")
		mounted, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(mounted) < 5 || len(kind) < 3 || (kind[0] != "cgroup" && kind[0] != "cgroup2") {
			continue
		}
		mounts = append(mounts, mount{
			dir:     unoctal(mounted[4]),
			root:    strings.TrimSuffix(unoctal(mounted[3]), "/"),
			v2:      kind[0] == "cgroup2",
			options: strings.Split(kind[2], ","),
		})
	}
	return mounts, nil
}

// unoctal decodes the \NNN that mountinfo has for blanks and backslashes.
func unoctal(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
