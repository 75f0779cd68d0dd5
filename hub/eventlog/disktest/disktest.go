// Package disktest provides a file system that hangs on demand, for tests.
package disktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Mount mounts a file system that freeze freezes. Writes to it then hang until thaw, even if their
// process is killed with kill -9.
func Mount(t *testing.T) (dir string, freeze func() (thaw func())) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil { //nolint:gosec,noctx // of this file
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	must(os.WriteFile(image, nil, 0o600))
	must(os.Truncate(image, 64<<20))
	run("mkfs.ext4", "-q", image)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { must(syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir, func() func() {
		run("fsfreeze", "-f", dir)
		thaw := sync.OnceFunc(func() { run("fsfreeze", "-u", dir) })
		t.Cleanup(thaw)
		return thaw
	}
}
