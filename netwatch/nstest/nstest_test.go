package nstest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStart expects a command to run in the namespace, and the test to stay outside.
func TestStart(t *testing.T) {
	n := New(t)
	var out strings.Builder
	cmd := exec.Command("readlink", "/proc/self/ns/net")
	cmd.Stdout = &out
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	inside, err := os.Readlink(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(out.String()); got != inside || got == own {
		t.Errorf("the command is in %s, the namespace is %s, the test in %s", got, inside, own)
	}
}

// TestVeths calls each method that changes veths.
func TestVeths(t *testing.T) {
	n, other := New(t), New(t)
	host, err := n.Pair("h", "p", other)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := other.Index("p")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { return n.Up(host) },
		func() error { return n.Down(host) },
		func() error { return n.Rename(host, "g") },
		func() error { return other.Move(peer, n) },
		func() error { _, err := n.Index("p"); return err },
		func() error { return n.Delete(host) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Index("p"); err == nil {
		t.Error("the peer is still there")
	}
}
