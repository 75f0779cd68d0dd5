package cttest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// cgroup2Mount returns where the machine has its cgroup2: /sys/fs/cgroup, or
// /sys/fs/cgroup/unified where cgroups are hybrid.
func cgroup2Mount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		// 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			return fields[4], nil
		}
	}
	return "", errors.New("no cgroup2 is mounted with its root")
}

// initOf returns the process in a cgroup of the host that is process 1 of a pid
// namespace.
func (h *Host) initOf(cgroup string) (int, error) {
	b, err := os.ReadFile(h.procsRoot() + cgroup + "/cgroup.procs") //nolint:gosec // the test says which
	if err != nil {
		return 0, err
	}
	for field := range strings.FieldsSeq(string(b)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		// NSpid: 18012 1
		inner, err := statusOf(pid, "NSpid")
		if fields := strings.Fields(inner); err == nil && len(fields) > 1 && fields[len(fields)-1] == "1" {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no process 1 in the cgroup %s", cgroup)
}

// parentOf returns the parent of a process.
func parentOf(pid int) (int, error) {
	parent, err := statusOf(pid, "PPid")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(parent)
}

// statusOf returns a value of /proc/PID/status.
func statusOf(pid int, key string) (string, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no %s in the status of process %d", key, pid)
}
