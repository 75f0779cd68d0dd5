package owner

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchy is a mounted cgroup hierarchy, or the part of it to look at.
type hierarchy struct {
	dir  string // where it is
	root string // the path that the kernel gives dir; "" for the root
	line string // what names it in /proc/PID/cgroup: a controller, or "" for v2

	top    *node
	groups []*group          // of containers
	byPath map[string]*group // of containers, while there are several hierarchies
	whole  int               // how many containers there were when all was walked last
	size   int               // nodes below the top

	followed  bool    // all cgroups are known, and watches tell of new ones
	unwatched bool    // this walk came by one that is not watched, or did not see all
	made      []*node // that watches told of, and nobody looked at yet
	stale     bool    // groups has such as are gone
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
	mounts, err := readMounts(filepath.Join(proc, "self/mountinfo"))
	if directory != "" {
		return hierarchiesIn(mounts, directory), nil
	}
	if err != nil {
		return nil, err
	}
	var found []*hierarchy
	if m := best(mounts, func(m *mount) bool { return m.v2 }); m != nil {
		found = append(found, &hierarchy{dir: m.dir, root: m.root})
	}
	for _, line := range v1Lines {
		m := best(mounts, func(m *mount) bool { return !m.v2 && slices.Contains(m.options, line) })
		if m != nil {
			found = append(found, &hierarchy{dir: m.dir, root: m.root, line: line})
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

// hierarchiesIn returns the hierarchies in a directory that may be a hierarchy, a
// cgroup in one, or what hierarchies are mounted in.
func hierarchiesIn(mounts []mount, directory string) []*hierarchy {
	directory = filepath.Clean(directory)
	if _, err := os.Stat(filepath.Join(directory, "cgroup.procs")); err == nil {
		return []*hierarchy{inMount(mounts, directory, "")}
	}
	var found []*hierarchy
	is := func(name string) bool {
		_, err := os.Stat(filepath.Join(directory, name, "cgroup.procs"))
		return err == nil
	}
	if is("unified") {
		found = append(found, inMount(mounts, filepath.Join(directory, "unified"), ""))
	}
	for _, line := range v1Lines {
		if name := strings.TrimPrefix(line, "name="); is(name) {
			found = append(found, inMount(mounts, filepath.Join(directory, name), line))
			break
		}
	}
	if found == nil {
		found = append(found, &hierarchy{dir: directory})
	}
	return found
}

// inMount returns the hierarchy at a directory, by the mount that it is in. What is
// in none is taken for a hierarchy of its own, known by line.
func inMount(mounts []mount, directory, line string) *hierarchy {
	h := &hierarchy{dir: directory, line: line}
	longest := -1
	for i := range mounts {
		m := &mounts[i]
		below, ok := strings.CutPrefix(directory, m.dir)
		if !ok || len(m.dir) < longest || (below != "" && below[0] != '/') {
			continue
		}
		longest = len(m.dir)
		h.root = m.root + below
		if h.line = ""; !m.v2 {
			h.line = line
			for _, option := range m.options {
				if slices.Contains(v1Lines, option) {
					h.line = option
				}
			}
		}
	}
	return h
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

// path returns the path of a process in the hierarchy, by the text of its
// /proc/PID/cgroup.
func (h *hierarchy) path(text string) (string, bool) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 || (h.line == "") != (fields[1] == "") {
			continue
		}
		if h.line != "" && !slices.Contains(strings.Split(fields[1], ","), h.line) {
			continue
		}
		below, ok := strings.CutPrefix(fields[2], h.root)
		return below, ok && (below == "" || below[0] == '/')
	}
	return "", false
}
