package cttest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// View is a cgroup that a program takes for the whole cgroup hierarchy. So the program does not see the
// containers of other tests, nor those of the machine.
type View struct {
	Dir string // the path of the cgroup for the test
}

// viewScript runs a command with the cgroup $1 as the only hierarchy, which is pure v2.
const viewScript = `set -eu
mount --bind "$1" /mnt
umount -l /sys/fs/cgroup
mount --move /mnt /sys/fs/cgroup
shift
exec "$@"
`

// NewView makes a cgroup without processes. The cgroup and its processes go when the test ends.
func NewView(tb testing.TB) *View {
	tb.Helper()
	requireTools(tb, "unshare", "util-linux", "mount", "mount")
	top, err := cgroup2Mount()
	if err != nil {
		tb.Fatalf("cttest: %v", err)
	}
	test, call := filepath.Split(tb.TempDir()) // packaging/dev/leftovers.sh finds it by this name
	v := &View{Dir: filepath.Join(top, "osctl-eventd-test-"+filepath.Base(test)+"-"+call)}
	if err := os.Mkdir(v.Dir, 0o755); err != nil { //nolint:gosec // as all cgroups
		tb.Fatalf("cttest: make a view of cgroups: %v", err)
	}
	tb.Cleanup(func() {
		if err := eventually("the cgroup "+v.Dir+" is gone", v.remove); err != nil {
			tb.Errorf("cttest: %v", err)
		}
	})
	return v
}

// Args returns the arguments that run a command in the view. Their process becomes that of the command.
func (v *View) Args(args ...string) []string {
	return append([]string{"unshare", "--mount", "--", "/bin/sh", "-c", viewScript, "cttest-view", v.Dir}, args...)
}

// remove kills the processes in the cgroup, and removes it and those below it once they are dead.
func (v *View) remove() (gone bool, err error) {
	if err := os.WriteFile(filepath.Join(v.Dir, "cgroup.kill"), []byte("1"), 0); err != nil {
		return false, err
	}
	var dirs []string
	_ = filepath.WalkDir(v.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		err = os.Remove(dir) // busy while a process is not reaped
	}
	return err == nil, nil
}
