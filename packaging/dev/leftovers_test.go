package dev

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cgroup2 is for scripts: the directory of the hierarchy.
const cgroup2 = `root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts); `

// bareMachine runs leftovers.sh for the script $1 where systemd is not installed yet, and a unit is enabled.
const bareMachine = `mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /etc/systemd
ln -s /lib/systemd/system/before.timer /etc/systemd
exec ./leftovers.sh sh -ec "$1"`

// TestLeftovers wants leftovers.sh to pass what leaves nothing, with its exit status, and to
// name each kind of thing that is left.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	sleep := func(n string) string { return "process \\d+ in net:\\S+: .*sleep " + n + " .*" }
	for _, test := range []struct{ name, command, want string }{
		{"nothing", "touch /tmp/file; rm /tmp/file", ""},
		{"a file", "touch /tmp/file", "file /tmp/file"},
		{"shared memory", "touch /dev/shm/file", "file /dev/shm/file"},
		{"a mount", "mkdir /tmp/dir; mount -t tmpfs tmpfs /tmp/dir", "file /tmp/dir\nmount /tmp/dir .*"},
		{"a cgroup", cgroup2 + "dir=$(mktemp -d /tmp/Test-XXXX); mkdir $root/osctl-eventd-test-${dir##*/}-001", "cgroup .*/osctl-eventd-test-Test-\\w+-001\nfile /tmp/Test-.*"},
		{"a host", cgroup2 + "dir=$(mktemp -d /tmp/cttest-XXXX); mkdir $root/${dir##*/}", "cgroup .*/cttest-.*\nfile /tmp/cttest-.*"},
		{"a process", "setsid sleep 1000 >/dev/null 2>&1 &", sleep("1000")},
		{"a process without its environment", "env -i setsid sleep 1001 >/dev/null 2>&1 &", sleep("1001")},
		{"a process in another cgroup", cgroup2 + `sh -c "echo \$\$ >$root/cgroup.procs; exec setsid sleep 1002" >/dev/null 2>&1 &
			while ! grep -qs 0::/$ /proc/$!/cgroup; do :; done`, sleep("1002")},
		{"a unit", `mkdir -p /var/lib/dpkg/info; cd /var/lib/dpkg/info
			echo /lib/systemd/system/debian.timer | tee dbus.list >systemd.list
			ln -s /lib/systemd/system/debian.timer /lib/systemd/system/left.timer /etc/systemd`, "enabled unit /etc/systemd/left.timer"},
		{"a namespace", "setsid unshare --net sleep 1003 >/dev/null 2>&1 &", sleep("1003")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("unshare", "--mount", "sh", "-ec", bareMachine, "sh", test.command)
			cmd.Env = append(cmd.Environ(), "LEFTOVERS_GRACE=0")
			out, err := cmd.CombinedOutput()
			if (err == nil) != (test.want == "") {
				t.Error(err)
			}
			_, left, _ := strings.Cut(string(out), ":\n  ")
			left = strings.ReplaceAll(strings.TrimSuffix(left, "\n"), "\n  ", "\n")
			cleanUp(t, string(out), left)
			if !regexp.MustCompile("^" + test.want + "$").MatchString(left) {
				t.Errorf("left is\n%s\nwant\n%s", out, test.want)
			}
		})
	}
	if err := exec.Command("./leftovers.sh", "sh", "-c", "exit 7").Run(); err == nil || err.Error() != "exit status 7" {
		t.Errorf("a command that ends with status 7: %v", err)
	}
}

// TestTreeInTmp has leftovers.sh run in a tree below /tmp, with Go's cache there: they are there for
// the command, and are not touched.
func TestTreeInTmp(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	script, err := filepath.Abs("leftovers.sh")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	for _, dir := range []string{tree, cache} {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("here"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(script, "sh", "-ec", `cat file "$GOCACHE/file"`)
	cmd.Dir, cmd.Env = tree, append(cmd.Environ(), "GOCACHE="+cache)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "herehere" {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(tree, "file")); err != nil {
		t.Error(err)
	}
}

// cleanUp removes what the script says was left.
func cleanUp(t *testing.T, said, left string) {
	t.Helper()
	var dirs []string
	for line := range strings.SplitSeq(left, "\n") {
		if rest, ok := strings.CutPrefix(line, "process "); ok {
			pid, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		} else if cgroup, ok := strings.CutPrefix(line, "cgroup "); ok {
			dirs = append(dirs, cgroup)
		}
	}
	if kept := regexp.MustCompile(`/var/tmp/(osctl-eventd-leftovers\.\w+)`).FindStringSubmatch(said); kept != nil {
		more, _ := filepath.Glob("/sys/fs/cgroup/" + kept[1])
		deeper, _ := filepath.Glob("/sys/fs/cgroup/*/" + kept[1])
		dirs = append(append(dirs, more...), deeper...)
		if err := os.RemoveAll(kept[0]); err != nil {
			t.Error(err)
		}
	}
	for _, dir := range dirs {
		err := os.Remove(dir)
		for ; errors.Is(err, syscall.EBUSY); err = os.Remove(dir) { // until what was killed is dead
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			t.Error(err)
		}
	}
}
