package bustest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachKind runs a test on both buses.
func eachKind(t *testing.T, test func(t *testing.T, kind Kind)) {
	t.Helper()
	for _, kind := range Kinds() {
		t.Run(kind.String(), func(t *testing.T) { test(t, kind) })
	}
}

// bounded returns the test's context with a deadline.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := bounded(t); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("timeout:", what)
		}
	}
}

// hold opens a pidfd, which identifies the process even if its pid is reused.
func hold(t *testing.T, pid int) (pidfd int) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("pidfd of %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = unix.Close(pidfd) })
	return pidfd
}

// dead reports whether the process of a pidfd is dead.
func dead(t *testing.T, pidfd int) bool {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		t.Fatal("poll:", err)
	}
	return n == 1
}

// fatalTB keeps the message of the Fatal that ends a test.
type fatalTB struct {
	testing.TB
	msg string
}

func (f *fatalTB) Fatal(args ...any) {
	f.msg = fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *fatalTB) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// fatal returns the message of the Fatal of test, or "".
func fatal(t *testing.T, test func(tb testing.TB)) string {
	t.Helper()
	f := &fatalTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	return f.msg
}

func TestKillAndRestart(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		b := Start(t, kind, PolicyOpen)
		c, address, pid := b.ClientAs(t, NobodyUID), b.Address(), b.pid
		bus := hold(t, pid)
		b.Kill()
		if !dead(t, bus) {
			t.Error("the bus lives after Kill")
		}
		if b.pid != 0 {
			t.Error("a dead bus has the pid", b.pid)
		}
		select {
		case <-c.Done():
		case <-bounded(t).Done():
			t.Fatal("the connection outlives the bus")
		}
		if _, err := c.CallDriver(bounded(t), "GetId", "", nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Error("call on a dead bus:", err)
		}
		if _, err := dial(bounded(t), socketPath(b.dir), dialConfig{}); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("connect to a dead bus: %v, want ECONNREFUSED", err)
		}
		b.Kill() // again: nothing

		for range 2 { // dead, and alive
			b.Restart(t)
			if b.Address() != address {
				t.Errorf("address %s, was %s", b.Address(), address)
			}
			if b.pid == pid || b.pid == 0 {
				t.Error("pid after Restart:", b.pid)
			}
			answerCalls(t, startService(t, b)) // the policy is the same
			if _, err := b.ClientAs(t, NobodyUID).Call(bounded(t), MethodCall(eventd, "/", eventd, "M")); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestStopAndCont(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		b := Start(t, kind)
		c := b.ClientAs(t, NobodyUID)
		if name := receives(t, c, "NameAcquired"); !name {
			t.Error("no NameAcquired after Hello")
		}
		b.Stop()
		call := MethodCall(DriverName, DriverPath, DriverName, "GetId")
		call.Serial = 1000
		if err := c.Send(bounded(t), call.Marshal()); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if m, err := c.Receive(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a stopped bus said %+v, %v", m, err)
		}
		b.Cont()
		if m, err := c.Receive(bounded(t)); err != nil || m.ReplySerial != call.Serial {
			t.Errorf("after Cont: %+v, %v", m, err)
		}
	})
}

func TestSendToAStoppedBusEndsWithItsContext(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		b := Start(t, kind)
		c := b.ClientAs(t, 0)
		b.Stop()
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := c.Send(short, make([]byte, 64<<20)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send: %v, want a deadline", err)
		}
	})
}

func TestPidIsThatOfTheBusProper(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		b := Start(t, kind)
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", b.pid))
		if err != nil || filepath.Base(exe) != kind.String() {
			t.Errorf("Pid is that of %s, %v", exe, err)
		}
	})
}

func TestNothingIsLeft(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		for _, how := range []string{"running", "stopped", "killed", "stopped and killed", "restarted"} {
			var dir string
			var held []int
			t.Run(how, func(t2 *testing.T) {
				b := Start(t2, kind)
				dir = b.Dir()
				b.ClientAs(t2, NobodyUID)
				for _, pid := range []int{b.pid, b.proc.cmd.Process.Pid, b.reaper.cmd.Process.Pid} {
					held = append(held, hold(t, pid))
				}
				switch how {
				case "stopped":
					b.Stop()
				case "killed":
					b.Kill()
				case "stopped and killed":
					b.Stop()
					b.Kill()
				case "restarted":
					b.Restart(t2)
					held = append(held, hold(t, b.pid))
				}
			})
			for i, pidfd := range held {
				if !dead(t, pidfd) {
					t.Errorf("%s: process %d of %d lives", how, i, len(held))
				}
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %s: %v", how, dir, err)
			}
		}
	})
}

// victimEnv makes TestVictim the victim of TestNothingOutlivesAKilledTest.
const victimEnv = "BUSTEST_VICTIM"

func TestVictim(t *testing.T) {
	if os.Getenv(victimEnv) == "" {
		return // it is no test
	}
	for _, kind := range Kinds() {
		b := Start(t, kind)
		b.Stop() // the hardest case: a process that takes no signal but SIGKILL
		fmt.Printf("\nvictim %s %d %d\n", b.Dir(), b.pid, b.proc.cmd.Process.Pid)
	}
	<-t.Context().Done()
}

func TestNothingOutlivesAKilledTest(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.v")
	cmd.Env = append(os.Environ(), victimEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := context.AfterFunc(bounded(t), func() { _ = cmd.Process.Kill() })
	defer killed()
	var dirs []string
	var held []int
	for lines := bufio.NewScanner(stdout); len(dirs) < len(Kinds()) && lines.Scan(); {
		var dir string
		var pid, child int
		if n, _ := fmt.Sscanf(lines.Text(), "victim %s %d %d", &dir, &pid, &child); n == 3 {
			dirs = append(dirs, dir)
			held = append(held, hold(t, pid), hold(t, child))
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(dirs) != len(Kinds()) {
		t.Fatal("the victim started only", dirs)
	}
	for _, pidfd := range held {
		eventually(t, "the bus is dead", func() bool { return dead(t, pidfd) })
	}
	for _, dir := range dirs {
		eventually(t, "the directory is gone", func() bool {
			_, err := os.Stat(dir)
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

func TestMissingToolsFailTheTest(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	for _, kind := range Kinds() {
		msg := fatal(t, func(tb testing.TB) { Start(tb, kind) })
		if !strings.Contains(msg, "install the Debian package") {
			t.Errorf("%v: %q", kind, msg)
		}
	}
}

// If a bus does not start, the test fails with its output.
func TestStartFailure(t *testing.T) {
	eachKind(t, func(t *testing.T, kind Kind) {
		var pidfd int
		t.Run("", func(t2 *testing.T) {
			b := Start(t2, kind)
			pidfd = hold(t, b.pid)
			if err := os.Remove(configPath(b.Dir())); err != nil {
				t2.Fatal(err)
			}
			msg := fatal(t, func(tb testing.TB) { b.Restart(tb) })
			if !strings.Contains(msg, configPath(b.Dir())) {
				t2.Errorf("it does not say what the bus said: %q", msg)
			}
		})
		if !dead(t, pidfd) {
			t.Error("the first bus lives")
		}
	})
}
