package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestRunScript does what `make run` does, and what its output says to try.
func TestRunScript(t *testing.T) {
	for name, test := range map[string]struct {
		before string
		sig    syscall.Signal
		group  bool // the signal comes from a terminal, to all in the foreground
	}{
		"interrupted":     {"", syscall.SIGINT, true},
		"terminal closed": {"", syscall.SIGHUP, true},
		"terminated":      {"", syscall.SIGTERM, false},
		"killed":          {"", syscall.SIGKILL, false},
		"without cgroups": {"mount -t tmpfs none /sys/fs/cgroup && ", syscall.SIGINT, true},
	} {
		t.Run(name, func(t *testing.T) {
			script, out := startScript(t, test.before)
			ended := make(chan error, 1)
			go func() { ended <- script.Wait() }() // when all that writes to out has ended
			tryScript(t, script, out)
			pid := script.Process.Pid
			if test.group {
				pid = -pid
			}
			must(t, syscall.Kill(pid, test.sig))
			select {
			case err := <-ended:
				if test.sig != syscall.SIGKILL {
					must(t, err)
				}
			case <-time.After(patience):
				t.Fatalf("it does not end:\n%s", out)
			}
			if left := processes(t, filepath.Join(programs, "osctl-eventd"), "--log-level"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// startScript starts it in namespaces of its own, where /run is its own too, after a command.
func startScript(t *testing.T, before string) (*exec.Cmd, monitored) {
	t.Helper()
	// Under nohup SIGHUP is ignored, and what is ignored stays so in children.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	out := monitored{&lockedBuffer{}}
	script := exec.Command("unshare", "--mount", "/bin/sh", "-c",
		"mount -t tmpfs none /run && "+before+"exec /bin/sh ../../packaging/dev/run.sh")
	script.Env = append(os.Environ(), "BIN="+programs, "TMPDIR="+t.TempDir())
	script.Stdout, script.Stderr = out, out
	script.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, nstest.New(t).Start(script))
	t.Cleanup(func() { _ = syscall.Kill(-script.Process.Pid, syscall.SIGKILL) })
	return script, out
}

// tryScript runs the commands of the script's output, as they stand there.
func tryScript(t *testing.T, script *exec.Cmd, out monitored) {
	t.Helper()
	out.waitFor(t, "End with Ctrl-C")
	var commands []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "  ip ") {
			commands = append(commands, line)
		}
	}
	if len(commands) < 4 {
		t.Fatalf("few commands to try:\n%s", out)
	}
	there := func(commands ...string) {
		t.Helper()
		text, err := tool(t, "nsenter", "--target="+strconv.Itoa(script.Process.Pid), "--mount", "--net",
			"/bin/sh", "-euc", strings.Join(commands, ""))
		if err != nil {
			t.Fatalf("%q: %v, %s\n%s", commands, err, text, out)
		}
	}
	there(commands[:3]...)
	// The monitor may begin a moment after the text, so the carrier is lost and found again
	// until it shows.
	for deadline := time.Now().Add(patience); !strings.Contains(out.String(), "ct_netif up"); {
		there("ip -n box link set eth0 down; ip -n box link set eth0 up")
		time.Sleep(50 * time.Millisecond)
		if time.Now().After(deadline) {
			t.Fatalf("no event shows:\n%s", out)
		}
	}
	there(commands[3:]...)
	out.waitFor(t, "ct_netif down", "(out0 on the host)")
}

// processes returns the command lines of the processes that begin with a program and
// contain an argument.
func processes(t *testing.T, program, arg string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(line), program+"\x00") && strings.Contains(string(line), arg) {
			found = append(found, string(line))
		}
	}
	return found
}
