package bustest

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NobodyUID is the uid of Debian's user nobody, and the gid of nogroup.
const NobodyUID = 65534

// AsNobody is a command that runs as nobody, group nogroup, with no other groups.
// Its environment is that of the test: for a bus set it from [Bus.Env].
func AsNobody(name string, args ...string) *exec.Cmd {
	cmd := command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: NobodyUID, Gid: NobodyUID, Groups: []uint32{}},
	}
	return cmd
}

// dialConfig configures a connection. The zero value connects as the test itself.
type dialConfig struct {
	other   bool // with the ids below, not those of the test
	uid     uint32
	gid     uint32
	groups  []uint32
	unixFDs bool
}

// DialOption changes a connection of [Bus.DialAs].
type DialOption func(*dialConfig)

// WithUnixFDs negotiates the passing of file descriptors.
func WithUnixFDs() DialOption {
	return func(c *dialConfig) { c.unixFDs = true }
}

// WithGroups sets the group and the supplementary groups of the peer.
func WithGroups(gid uint32, groups ...uint32) DialOption {
	return func(c *dialConfig) { c.gid, c.groups = gid, groups }
}

// DialAs connects to the bus as another user: uid, a group of the same number and
// no others, unless an option says so. The connection is authenticated and ready
// for Hello. The caller closes it. A dbus-daemon drops users that are in no passwd
// database, when they call Hello.
func (b *Bus) DialAs(tb testing.TB, uid uint32, options ...DialOption) *net.UnixConn {
	tb.Helper()
	c := dialConfig{other: true, uid: uid, gid: uid}
	for _, option := range options {
		option(&c)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), deadline)
	defer cancel()
	conn, err := dial(ctx, socketPath(b.dir), c)
	if err != nil {
		tb.Fatalf("bustest: connect to %v as uid %d: %v", b.kind, uid, err)
	}
	return conn
}

// dial connects and authenticates.
func dial(ctx context.Context, path string, c dialConfig) (*net.UnixConn, error) {
	connectAs := connect
	if c.other {
		connectAs = func(ctx context.Context, path string) (conn *net.UnixConn, err error) {
			err2 := onThread(func() error {
				if err := c.become(); err != nil {
					return err
				}
				conn, err = connect(ctx, path)
				return err
			})
			return conn, err2
		}
	}
	conn, err := connectAs(ctx, path)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = authenticate(conn, c)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	return conn, nil
}

// connect connects a socket. The kernel records the ids of the calling thread in it.
// Package net connects a unix socket on the calling thread.
func connect(ctx context.Context, path string) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("%s is a %T", path, conn)
	}
	return unixConn, nil
}

// onThread calls f on a thread of its own, which is destroyed afterwards. That is
// never the main thread: the runtime cannot end that one, and /proc/self shows it.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			result <- f()
			return
		}
		defer runtime.UnlockOSThread() // nothing was changed here
		result <- onThread(f)          // elsewhere, as this thread is taken
	}()
	return <-result
}

// become gives the calling thread, and no other, the ids of c: the raw system
// calls do, while those of package syscall change the whole process.
func (c dialConfig) become() error {
	var groups unsafe.Pointer
	if len(c.groups) > 0 {
		groups = unsafe.Pointer(&c.groups[0]) //nolint:gosec // setgroups(2) wants an array
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(c.groups)), uintptr(groups), 0); errno != 0 {
		return fmt.Errorf("setgroups %v: %w", c.groups, errno)
	}
	gid, uid := uintptr(c.gid), uintptr(c.uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("setresgid %d: %w", c.gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("setresuid %d: %w", c.uid, errno)
	}
	return nil
}

// authenticate does what the D-Bus specification demands of a client before its
// first message, with the mechanism EXTERNAL: the bus compares with SO_PEERCRED.
func authenticate(conn io.ReadWriter, c dialConfig) error {
	uid := syscall.Geteuid()
	if c.other {
		uid = int(c.uid)
	}
	steps := []struct{ send, expect string }{
		{"\x00AUTH EXTERNAL " + hex.EncodeToString([]byte(strconv.Itoa(uid))), "OK "},
		{"NEGOTIATE_UNIX_FD", "AGREE_UNIX_FD"},
		{"BEGIN", ""}, // not answered: the first message follows
	}
	// The server sends nothing but answers, so the buffer is empty at the end.
	r := bufio.NewReaderSize(conn, 512)
	for i, step := range steps {
		if i == 1 && !c.unixFDs {
			continue
		}
		if _, err := io.WriteString(conn, step.send+"\r\n"); err != nil {
			return err
		}
		if step.expect == "" {
			continue
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(line), step.expect) {
			return fmt.Errorf("the bus answered %q to %q", line, step.send)
		}
	}
	return nil
}
