package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
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
	}{
		"interrupted":     {"", syscall.SIGINT},
		"terminal closed": {"", syscall.SIGHUP},
		"without cgroups": {"mount -t tmpfs none /sys/fs/cgroup && ", syscall.SIGINT},
	} {
		t.Run(name, func(t *testing.T) { runScript(t, test.before, test.sig) })
	}
}

// runScript runs it, after a command in a mount namespace of its own, until a signal comes
// to its process group, as from a terminal.
func runScript(t *testing.T, before string, sig syscall.Signal) {
	// Under nohup SIGHUP is ignored, and what is ignored stays so in children.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ns := nstest.New(t)
	out := &lockedBuffer{}
	script := exec.Command("unshare", "--mount", "/bin/sh", "-c", before+"exec /bin/sh ../../packaging/dev/run.sh")
	script.Env = append(os.Environ(), "BIN="+programs)
	script.Stdout, script.Stderr = out, out
	script.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, ns.Start(script))
	ended := make(chan error, 1)
	go func() { ended <- script.Wait() }()
	printed := monitored{out}
	printed.waitFor(t, "End with Ctrl-C")

	// The commands of the text, as they stand there. The monitor may begin a moment
	// after the text, so the carrier is lost and found again until it shows.
	ip := func(args ...string) {
		cmd := exec.Command("ip", args...)
		must(t, ns.Start(cmd))
		must(t, cmd.Wait())
	}
	ip("link", "add", "try0", "type", "veth", "peer", "name", "try1")
	ip("link", "set", "try0", "up")
	for deadline := time.Now().Add(patience); !strings.Contains(out.String(), "ct_netif up"); {
		ip("link", "set", "try1", "down")
		ip("link", "set", "try1", "up")
		time.Sleep(50 * time.Millisecond)
		if time.Now().After(deadline) {
			t.Fatalf("no event shows:\n%s", out)
		}
	}
	ip("link", "set", "try0", "name", "try2")
	printed.waitFor(t, "(try0 -> try2 on the host)")
	ip("link", "delete", "try2")
	printed.waitFor(t, "ct_netif down")

	must(t, syscall.Kill(-script.Process.Pid, sig))
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(patience):
		t.Fatalf("it does not end:\n%s", out)
	}
	if left := processes(t, filepath.Join(programs, "osctl-eventd"), "--log-level"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
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
