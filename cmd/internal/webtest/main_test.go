package webtest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
)

// programs is the directory of the built programs.
var programs string //nolint:gochecknoglobals // set by TestMain alone

// TestMain runs the tests in their own network namespace, because any local user could use the
// Cockpit session that they serve.
func TestMain(m *testing.M) {
	if os.Getenv("OSCTL_EVENTD_TEST_WEB") == "" {
		fmt.Println("skipped: make test-web runs these tests")
		return
	}
	const inside = "OSCTL_EVENTD_TEST_WEB_INSIDE"
	if os.Getenv(inside) == "" {
		unshare, err := exec.LookPath("unshare")
		if err == nil {
			args := append([]string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}, os.Args...)
			err = syscall.Exec(unshare, args, append(os.Environ(), inside+"=1"))
		}
		fmt.Fprintln(os.Stderr, "create a network namespace for the tests:", err)
		os.Exit(1)
	}
	daemontest.Main(m, &programs)
}
