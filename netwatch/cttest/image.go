package cttest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// imagePackages are the packages in the Debian of BootSystemd, beside the essential ones.
const imagePackages = "busybox-static,dbus,dbus-broker,init,iproute2,iptables,libpam-systemd,lxc,procps,rpm,systemd,systemd-container,systemd-sysv"

// imageHook runs after the packages are installed, with the image's directory as $1. It
// keeps LXC's bridge and the second bus from starting at boot.
const imageHook = `chroot "$1" systemctl -q disable dbus-broker.service lxc.service lxc-net.service`

// imageSuite is the Debian release of the image.
const imageSuite = "bookworm"

// debianImage returns the directory of a Debian, which must not be changed. If there is
// none for these packages yet, mmdebstrap makes it, which takes from half a minute to
// some minutes with a slow mirror. Meanwhile other tests wait for a lock file. The image
// stays in the user's cache directory, about 350 MB, for later tests.
func debianImage() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache"
	}
	cache = filepath.Join(cache, "osctl-eventd-cttest")
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // processes of other uids run from it
		return "", err
	}
	sum := sha256.Sum256([]byte(imageSuite + " " + imagePackages + " " + imageHook))
	image := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	lock, err := os.OpenFile(image+".lock", os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600) //nolint:gosec // ours
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // Close unlocks it
	for {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	return image, buildImage(image)
}

// buildImage builds the image beside its final path and renames it when it is complete.
// The builder dies with this process, and all processes in its pid namespace with it.
func buildImage(image string) error {
	unfinished := image + ".new"
	if err := os.RemoveAll(unfinished); err != nil { // left by a test that was killed
		return err
	}
	cmd := command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase", "--include="+imagePackages,
		"--customize-hook="+imageHook, imageSuite, unfinished)
	// The signal comes when the thread that starts the command ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if _, err := run(cmd); err != nil {
		return fmt.Errorf("build a Debian: %w", err)
	}
	return os.Rename(unfinished, image)
}
