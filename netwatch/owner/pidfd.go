package owner

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// hold returns a pidfd, which is good until the next one is held or it is released; -1
// where there are none.
func (k *rtnetlink) hold(pid int) (int, error) {
	if pid == k.heldPid {
		return k.held, nil
	}
	k.release()
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL): // EINVAL: a thread by now
		return -1, errGone
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		k.pidfdOff.Store(true)
		return -1, nil
	case err != nil:
		return -1, fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	if k.slot != noSlot {
		if err := unix.Dup3(fd, k.slot, unix.O_CLOEXEC); err != nil {
			k.giveUpSlot() // with a lower limit of descriptors it is beyond
		} else {
			closeFD(fd)
			fd = k.slot
		}
	}
	k.held, k.heldPid = fd, pid
	return fd, nil
}

func (k *rtnetlink) release() {
	switch {
	case k.heldPid == 0:
		return
	case k.held != k.slot:
		closeFD(k.held)
	default: // it stays open, or the number would be another's
		if err := unix.Dup3(int(k.fdinfo.Fd()), k.slot, unix.O_CLOEXEC); err != nil {
			k.giveUpSlot()
		}
	}
	k.heldPid = 0
}

func (k *rtnetlink) giveUpSlot() {
	if k.slot != noSlot {
		closeFD(k.slot)
		closeFD(k.about)
		k.slot = noSlot
	}
}

// pidsOf reads what proc says of a pidfd (pidfd_show_fdinfo in the kernel's fs/pidfs.c),
// which takes half the time of a status, and is not hidden from us as that may be. The file
// tells of the descriptor as it is when that is read (seq_show in fs/proc/fd.c), so it stays
// open for all pidfds.
func (k *rtnetlink) pidsOf(pid int) ([]byte, error) {
	pidfd, err := k.hold(pid)
	if err != nil {
		return nil, err
	}
	if pidfd < 0 || k.fdinfo == nil {
		return nil, errors.ErrUnsupported
	}
	if k.slot == noSlot {
		k.about, err = unix.Openat(int(k.fdinfo.Fd()), strconv.Itoa(pidfd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("about the pidfd of %d: %w", pid, err)
		}
		k.slot = pidfd
	}
	n, err := retry(func() (int, error) { return unix.Pread(k.about, k.buf[:], 0) })
	if err != nil {
		return nil, fmt.Errorf("about the pidfd of %d: %w", pid, err)
	}
	line, found := nspidOf(k.buf[:n])
	if !found {
		return nil, errors.ErrUnsupported
	}
	return line, nil
}
