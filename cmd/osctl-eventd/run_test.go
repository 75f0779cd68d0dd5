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

// TestRunScript runs the script of `make run`, and the commands that its output suggests.
func TestRunScript(t *testing.T) {
	for name, test := range map[string]struct {
		before string
		sig    syscall.Signal
		group  bool // the signal goes to the process group, as from a terminal
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
			go func() { ended <- script.Wait() }() // returns when all writers of out have ended
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
				t.Fatalf("the script does not end:\n%s", out)
			}
			if left := processes(t, filepath.Join(programs, "osctl-eventd"), "--log-level"); len(left) > 0 {
				t.Errorf("the script left processes behind: %v", left)
			}
		})
	}
}

// startScript runs the shell command before and then the script, in its own namespaces and with its
// own /run.
func startScript(t *testing.T, before string) (*exec.Cmd, monitored) {
	t.Helper()
	// Children inherit ignored signals, and nohup ignores SIGHUP.
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

// tryScript runs the commands in the script's output.
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
		t.Fatalf("the script suggests only %d commands:\n%s", len(commands), out)
	}
	run := func(commands ...string) {
		t.Helper()
		text, err := runTool(t, "nsenter", "--target="+strconv.Itoa(script.Process.Pid), "--mount", "--net",
			"/bin/sh", "-euc", strings.Join(commands, ""))
		if err != nil {
			t.Fatalf("%q: %v, %s\n%s", commands, err, text, out)
		}
	}
	run(commands[:3]...)
	// The monitor may start a moment later, so toggle the carrier until an event is shown.
	for deadline := time.Now().Add(patience); !strings.Contains(out.String(), "ct_netif up"); {
		run("ip -n box link set eth0 down; ip -n box link set eth0 up")
		time.Sleep(50 * time.Millisecond)
		if time.Now().After(deadline) {
			t.Fatalf("no event is shown:\n%s", out)
		}
	}
	run(commands[3:]...)
	out.waitFor(t, "ct_netif down", "(out0 on the host)")
}

// processes returns the command lines that begin with program and contain arg.
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
