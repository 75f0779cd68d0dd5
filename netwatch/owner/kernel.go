package owner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// errGone says that what was asked about is no more, or never was what it seemed.
var errGone = errors.New("gone")

// none is the nsid of a namespace that has none here.
const none int32 = -1

// kernel answers what nsid a namespace has, or none. The other implementation is a
// fake that injects faults and races. The error is errGone for a process that died
// and a file that is no namespace.
type kernel interface {
	// byPid asks about a process. If the pid is given to another process meanwhile,
	// the answer may be about that.
	byPid(pid int) (int32, error)
	// byProcess asks about a process and then calls still, which says whether the pid
	// means what the caller thinks. The answer holds for the very process that
	// still saw.
	byProcess(pid int, still func() bool) (int32, error)
	// pidsOf returns the pids that a process has, as the line NSpid of its status has
	// them: in our pid namespace first, then further down to its own. An error other than
	// errGone says that this is not to be had.
	pidsOf(pid int) ([]byte, error)
	// release lets go of what was held for the sake of the next question.
	release()
	// byFile asks about a file that a namespace is bound to.
	byFile(path string) (int32, error)
	// self asks about the namespace that counts.
	self() (int32, error)
	// guarded is false if byProcess turned out to be no better than byPid.
	guarded() bool
	close() error
}

// rtnetlink asks by RTM_GETNSID, which needs no capability and takes no lock of the
// network. It is for one goroutine, apart from guarded.
//
// Processes are asked about by pid, under a pidfd: if the process that the pidfd
// holds is alive afterwards, the pid was its own all the time. This is as safe as
// to get the namespace from the pidfd (PIDFD_GET_NET_NAMESPACE) and ask by that,
// but needs neither CAP_SYS_PTRACE nor Linux 6.11, is quicker, and never holds
// a foreign namespace, not even for a moment.
type rtnetlink struct {
	fd       int
	seq      uint32      // of the last question
	own      *os.File    // the namespace that counts, which the socket holds as well
	fdinfo   *os.File    // the directory in proc about our own descriptors; nil if it is not to be had
	pidfdOff atomic.Bool // the system has no pidfd_open for us
	held     int         // pidfd of
	heldPid  int         // this process; 0 if none is held
	slot     int         // what all pidfds are held as once about is open; noSlot: it is not
	about    int         // what proc says of the slot
	borrows  bool        // the files are another's
	buf      [1024]byte
}

// noSlot is instead of a descriptor.
const noSlot = -1

// openKernel opens a socket in the network namespace of the calling thread, and what there is
// to know of that.
func openKernel() (*rtnetlink, error) {
	k, err := openSocket()
	if err != nil {
		return nil, err
	}
	if k.own, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return nil, errors.Join(fmt.Errorf("own network namespace: %w", err), k.close())
	}
	k.fdinfo, _ = os.Open("/proc/self/fdinfo")
	return k, nil
}

// another opens one for another goroutine, in the network namespace of the calling thread. It
// is to be closed before the first, whose files it uses, and does not know self.
func (k *rtnetlink) another() (*rtnetlink, error) {
	a, err := openSocket()
	if err == nil {
		a.fdinfo, a.borrows = k.fdinfo, true
	}
	return a, err
}

func openSocket() (*rtnetlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	// Connected, the kernel keeps away what other processes send to us.
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("connect netlink socket: %w", err), unix.Close(fd))
	}
	return &rtnetlink{fd: fd, slot: noSlot}, nil
}

func (k *rtnetlink) close() error {
	k.release()
	k.giveUpSlot()
	if !k.borrows {
		_, _ = k.fdinfo.Close(), k.own.Close() // nil if they were not opened
	}
	if err := unix.Close(k.fd); err != nil {
		return fmt.Errorf("close netlink query socket: %w", err)
	}
	return nil
}

func (k *rtnetlink) guarded() bool { return !k.pidfdOff.Load() }

func (k *rtnetlink) self() (int32, error) {
	return k.ask(unix.NETNSA_FD, uint32(k.own.Fd())) //nolint:gosec // a file descriptor fits
}

func (k *rtnetlink) byPid(pid int) (int32, error) {
	return k.ask(unix.NETNSA_PID, uint32(pid)) //nolint:gosec // from the kernel
}

func (k *rtnetlink) byProcess(pid int, still func() bool) (int32, error) {
	pidfd, err := k.hold(pid)
	if err != nil {
		return none, err
	}
	nsid, err := k.byPid(pid)
	if err != nil {
		return none, err
	}
	if !still() {
		return none, errGone
	}
	exited := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // a descriptor fits; of -1 poll takes no notice
	for {
		n, err := unix.Poll(exited, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return none, fmt.Errorf("poll the pidfd of %d: %w", pid, err)
		case n != 0:
			return none, errGone
		}
		return nsid, nil
	}
}

func (k *rtnetlink) byFile(path string) (int32, error) {
	var fs unix.Statfs_t
	// Asked before it is opened, as to open a stale file could do anything.
	if err := unix.Statfs(path, &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		return none, errGone
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return none, errGone
	}
	if err != nil {
		return none, fmt.Errorf("open namespace %s: %w", path, err)
	}
	// Closed at once: while it is open, the veths in a namespace do not die with it.
	defer closeFD(fd)
	nsid, err := k.ask(unix.NETNSA_FD, uint32(fd)) //nolint:gosec // a file descriptor fits
	if errors.Is(err, unix.EINVAL) {
		return none, errGone // a namespace of another kind
	}
	return nsid, err
}

// ask sends a request and reads the answer. The kernel has it ready when the
// request is sent, so nothing waits.
func (k *rtnetlink) ask(attribute uint16, value uint32) (int32, error) {
	k.seq++
	b := question(k.buf[:0], k.seq, attribute, value)
	if _, err := retry(func() (int, error) { return unix.Write(k.fd, b) }); err != nil {
		return none, fmt.Errorf("ask for an nsid: %w", err)
	}
	for {
		n, err := retry(func() (int, error) { return unix.Read(k.fd, k.buf[:]) })
		if err != nil {
			return none, fmt.Errorf("answer with an nsid: %w", err)
		}
		nsid, seq, err := decodeNSID(k.buf[:n])
		if seq == k.seq || n == 0 {
			return nsid, err
		}
	}
}

// question appends a RTM_GETNSID.
func question(b []byte, seq uint32, attribute uint16, value uint32) []byte {
	const size = unix.NLMSG_HDRLEN + 4 + 8 // header, struct rtgenmsg, one attribute
	b = binary.NativeEndian.AppendUint32(b, size)
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_GETNSID)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0, unix.AF_UNSPEC, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, attribute)
	return binary.NativeEndian.AppendUint32(b, value)
}

// decodeNSID reads one message: an RTM_NEWNSID or an error, and its sequence number.
func decodeNSID(b []byte) (nsid int32, seq uint32, err error) {
	if len(b) < unix.NLMSG_HDRLEN+4 {
		return none, 0, errors.New("answer with an nsid: too short")
	}
	seq = binary.NativeEndian.Uint32(b[8:])
	body := b[unix.NLMSG_HDRLEN:]
	if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body))) //nolint:gosec // a negative errno
		if errno == unix.ESRCH {
			return none, seq, errGone
		}
		return none, seq, fmt.Errorf("ask for an nsid: %w", errno)
	}
	for body = body[4:]; len(body) >= 8; {
		size := int(binary.NativeEndian.Uint16(body))
		if binary.NativeEndian.Uint16(body[2:]) == unix.NETNSA_NSID && size == 8 {
			return int32(binary.NativeEndian.Uint32(body[4:])), seq, nil //nolint:gosec // it is signed: -1 is none
		}
		size = max((size+3)&^3, 4)
		if size > len(body) {
			break
		}
		body = body[size:]
	}
	return none, seq, errors.New("answer with an nsid: without one")
}
