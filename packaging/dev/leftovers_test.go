package dev

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLeftovers wants leftovers.sh to pass what leaves nothing, with its exit status, and to
// name each kind of thing that is left.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, command, want string }{
		{"nothing", "touch /tmp/file; rm /tmp/file", ""},
		{"a file", "touch /tmp/file", "file /tmp/file"},
		{"shared memory", "touch /dev/shm/file", "file /dev/shm/file"},
		{"a mount", "mkdir /tmp/dir; mount -t tmpfs tmpfs /tmp/dir", "mount /tmp/dir "},
		{"a process", "setsid sleep 1000 >/dev/null 2>&1 &", `process [0-9]+ in net:.*: (setsid )?sleep 1000 $`},
		{"a process without its environment", "env -i setsid sleep 1001 >/dev/null 2>&1 &", `process [0-9]+ .*: (setsid )?sleep 1001 $`},
		{"a process that hides", `root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
			sh -c "echo \$\$ >$root/cgroup.procs; exec setsid sleep 1002" >/dev/null 2>&1 &
			while ! grep -qs 0::/$ /proc/$!/cgroup; do :; done`, `process [0-9]+ .*: (setsid )?sleep 1002 $`},
		{"a namespace", "setsid unshare --net sleep 1003 >/dev/null 2>&1 &", `process [0-9]+ in net:.*: (setsid |unshare --net )?(unshare --net )?sleep 1003 $`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("./leftovers.sh", "sh", "-ec", test.command)
			cmd.Env = append(cmd.Environ(), "LEFTOVERS_GRACE=0")
			out, err := cmd.CombinedOutput()
			cleanUp(t, string(out))
			if (err == nil) != (test.want == "") || !regexp.MustCompile("(?m)^  "+test.want).Match(out) && test.want != "" {
				t.Errorf("%v\n%s", err, out)
			}
			if lines := strings.Count(string(out), "\n  "); test.want != "" && !strings.Contains(string(out), "file /tmp/dir") && lines != 1 {
				t.Errorf("%d things are left, want 1:\n%s", lines, out)
			}
		})
	}
	if err := exec.Command("./leftovers.sh", "sh", "-c", "exit 7").Run(); err == nil || err.Error() != "exit status 7" {
		t.Errorf("a command that ends with status 7: %v", err)
	}
}

// cleanUp removes what the script says was left.
func cleanUp(t *testing.T, said string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^  process (\d+) `).FindAllStringSubmatch(said, -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	dir := regexp.MustCompile(`/var/tmp/(osctl-eventd-leftovers\.\w+)`).FindStringSubmatch(said)
	if dir == nil {
		return
	}
	cgroups, err := exec.Command("find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", dir[1]).Output()
	for _, cgroup := range strings.Fields(string(cgroups)) {
		for errors.Is(os.Remove(cgroup), syscall.EBUSY) { // until what was killed is dead
			time.Sleep(time.Millisecond)
		}
	}
	if err := errors.Join(err, os.RemoveAll(dir[0])); err != nil {
		t.Error(err)
	}
}
