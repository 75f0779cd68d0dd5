package bustest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child process.
type process struct {
	cmd    *exec.Cmd
	output tail          // of standard output and standard error
	done   chan struct{} // closed after Wait
}

// startProcess starts cmd, reads its output, and waits for it in a goroutine. That
// ends when the process and all that inherited its output are dead.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // the process was killed
	}()
	return p, nil
}

// command returns a command without a context, because the reaper ends it.
func command(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), name, args...) //nolint:gosec // of the test's own making
}

// startReaper starts the process that ends a bus. When its standard input ends, it
// removes dir and kills its process group, which includes itself. It ignores the
// SIGHUP that the kernel sends to an orphaned process group with a stopped process,
// see setpgid(2).
func startReaper(dir string) (*process, io.Closer, error) {
	const script = `trap '' HUP INT TERM; read -r _; rm -rf -- "$1"; kill -KILL 0`
	cmd := command("/bin/sh", "-c", script, "bustest-reaper", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	p, err := startProcess(cmd)
	if err != nil {
		return nil, nil, fmt.Errorf("start the reaper: %w", err)
	}
	return p, stdin, nil
}

// group makes a process start in the reaper's process group.
func (b *Bus) group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: b.reaper.cmd.Process.Pid}
}

// environment is that of the bus's own processes. The address keeps them off the
// machine's system bus.
func (b *Bus) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "DBUS_SYSTEM_BUS_ADDRESS=" + b.Address()}
}

// awaitDeath waits until the process is dead, be it reaped or not.
func awaitDeath(pidfd int) error {
	end := time.Now().Add(deadline)
	for {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // an fd fits
		n, err := unix.Poll(fds, int(time.Until(end).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("poll the pidfd: %w", err)
		case n == 0:
			return fmt.Errorf("still alive %v after SIGKILL", deadline)
		default:
			return nil
		}
	}
}

// awaitStopped waits until a process of one thread has stopped after SIGSTOP. It
// polls, because the kernel notifies only the parent.
func awaitStopped(pid int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); time.Now().Before(end); <-tick.C {
		state, err := processState(pid)
		if err != nil {
			return err
		}
		if state == 'T' {
			return nil
		}
	}
	return fmt.Errorf("process %d runs %v after SIGSTOP", pid, deadline)
}

// processState is the third field of /proc/PID/stat, see proc_pid_stat(5).
func processState(pid int) (byte, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(stat), ") ") // after the name
	if !ok || rest == "" {
		return 0, fmt.Errorf("cannot read %q", stat)
	}
	return rest[0], nil
}

// tail is a writer that keeps the last tailSize bytes.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
