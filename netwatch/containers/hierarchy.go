package containers

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is a mounted cgroup hierarchy, or the part of it to look at.
type hierarchy struct {
	dir string // where it is
	v2  bool
	top *node
}

// v1Lines are the hierarchies of v1 of which one is enough, best first: a process
// has the same path in each, but on a machine without systemd its own may lack.
var v1Lines = []string{"name=systemd", "memory", "cpu", "pids", "freezer", "devices"}

// mount is a mounted cgroup hierarchy as /proc/self/mountinfo has it.
type mount struct {
	dir, root string
	v2        bool
	options   []string
}

// findHierarchies returns the hierarchies to walk: that of v2, and one of v1. A
// hybrid system has both, and a process of a container may be in either alone. The
// directory is Config.Cgroup.
func findHierarchies(proc, directory string) ([]*hierarchy, error) {
	if directory != "" {
		if found := hierarchiesIn(directory); len(found) > 0 {
			return found, nil
		}
		return nil, fmt.Errorf("no cgroup hierarchy in %s", directory)
	}
	mounts, err := readMounts(filepath.Join(proc, "self/mountinfo"))
	if err != nil {
		return nil, err
	}
	var found []*hierarchy
	if m := best(mounts, func(m *mount) bool { return m.v2 }); m != nil {
		found = append(found, &hierarchy{dir: m.dir, v2: true})
	}
	for _, line := range v1Lines {
		m := best(mounts, func(m *mount) bool { return !m.v2 && slices.Contains(m.options, line) })
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

// best returns the mount that shows most of a hierarchy, of equals the first.
func best(mounts []mount, is func(*mount) bool) *mount {
	var found *mount
	for i := range mounts {
		if m := &mounts[i]; is(m) && (found == nil || len(m.root) < len(found.root)) {
			found = m
		}
	}
	return found
}

// hierarchiesIn returns the hierarchies in a directory that may be a hierarchy, a cgroup in one,
// or what hierarchies are mounted in.
func hierarchiesIn(directory string) []*hierarchy {
	directory = filepath.Clean(directory)
	is := func(name string) bool {
		_, err := os.Stat(filepath.Join(directory, name, "cgroup.procs"))
		return err == nil
	}
	at := func(name string) *hierarchy {
		dir := filepath.Join(directory, name)
		var fs unix.Statfs_t
		return &hierarchy{dir: dir, v2: unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC}
	}
	if is("") {
		return []*hierarchy{at("")}
	}
	var found []*hierarchy
	if is("unified") {
		found = append(found, at("unified"))
	}
	for _, line := range v1Lines {
		if name := strings.TrimPrefix(line, "name="); is(name) {
			found = append(found, at(name))
			break
		}
	}
	return found
}

// readMounts returns the mounted cgroup hierarchies.
func readMounts(path string) ([]mount, error) {
	file, err := os.Open(path) //nolint:gosec // in the proc that we were given
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	var mounts []mount
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// 36 35 98:0 /root /dir rw,noatime shared:1 - cgroup2 source rw,nsdelegate
		before, after, found := strings.Cut(lines.Text(), " - ")
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
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	return mounts, nil
}

// unoctal undoes the \NNN by which mountinfo writes blanks.
func unoctal(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
