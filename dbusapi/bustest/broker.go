package bustest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// brokerScript runs dbus-broker-launch without systemd, in a new mount namespace. The
// launcher requires the socket of the journal, so the script mounts one on an empty /run,
// which also hides the services of the machine. And it requires a listening socket as
// systemd passes it, with its own pid in LISTEN_PID, see sd_listen_fds(3).
const brokerScript = `set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/journal
: > /run/systemd/journal/socket
mount --bind "$1" /run/systemd/journal/socket
LISTEN_PID=$$ exec dbus-broker-launch --scope=system --config-file="$2"
`

// startBroker runs dbus-broker under its launcher and waits until it answers.
func (b *Bus) startBroker() error {
	socket, err := listenSocket(socketPath(b.dir))
	if err != nil {
		return err
	}
	cmd := command("/bin/sh", "-c", brokerScript, "bustest-broker", b.journal.path, configPath(b.dir))
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = b.group()
	cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS // all mounts private, says os/exec
	cmd.Env = append(b.environment(), "LISTEN_FDS=1", "LISTEN_FDNAMES=dbus.socket")
	b.proc, err = startProcess(cmd)
	// If it stayed open, it would accept connections for a dead bus.
	_ = socket.Close()
	if err != nil {
		return err
	}
	// The socket listens before the broker runs, which answers when it has read
	// the policy, and closes it when it dies.
	if err := b.awaitAnswer(); err != nil {
		return err
	}
	b.pid, err = childOf(cmd.Process.Pid, "dbus-broker")
	return err
}

// listenSocket returns a socket that listens at path, which may exist.
func listenSocket(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = os.Chmod(path, 0o666) //nolint:gosec // every uid may connect to a system bus
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return f, nil
}

// childOf returns the child of pid that has the name given.
func childOf(pid int, name string) (int, error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for field := range strings.FieldsSeq(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("children of %d: %w", pid, err)
		}
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
		if err == nil && strings.TrimSpace(string(comm)) == name {
			return child, nil
		}
	}
	return 0, fmt.Errorf("process %d has no child %s", pid, name)
}

// journal reads the log of dbus-broker and its launcher, because they block if it is
// not read, and keeps the end of it.
type journal struct {
	path   string
	conn   *net.UnixConn
	output tail
	done   chan struct{} // closed when drain ends
}

func newJournal(path string) (*journal, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	j := &journal{path: path, conn: conn, done: make(chan struct{})}
	go j.drain()
	return j, nil
}

func (j *journal) drain() {
	defer close(j.done)
	buf := make([]byte, 256<<10)
	for {
		n, err := j.conn.Read(buf) // files passed along are closed by the kernel
		if err != nil {
			return // closed
		}
		for line := range bytes.SplitSeq(buf[:n], []byte("\n")) {
			if message, ok := bytes.CutPrefix(line, []byte("MESSAGE=")); ok {
				_, _ = j.output.Write(append(message, '\n')) // never fails
			}
		}
	}
}

func (j *journal) close() error {
	err := j.conn.Close()
	<-j.done
	return err
}
