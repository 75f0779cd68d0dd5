package webtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
)

// otherRoot is the root directory of another Debian with another Cockpit release; "" for this system.
func otherRoot() string { return os.Getenv("OSCTL_EVENTD_TEST_COCKPIT") }

// user is the user of a Cockpit session.
type user struct {
	uid        int
	groups     []int
	conditions bool // keep the manifest's condition that the service is installed
}

// startCockpit serves a Cockpit session without a login, with the system bus at address, and returns its
// URL. The session ends with the test, or some seconds after the last browser disconnects.
func startCockpit(t *testing.T, address string, who user) string {
	t.Helper()
	home := cockpitHome(t, who)
	port := freePort(t)
	args := append(asUser(who), program(t), "--no-tls", "--local-session=cockpit-bridge", "--address=127.0.0.1", fmt.Sprintf("--port=%d", port))
	if root := otherRoot(); root != "" {
		args = append([]string{
			"unshare", "-m", "--propagation", "private", "sh", "-c",
			`for d in /proc /dev /tmp; do mount --rbind $d "$0$d" || exit; done; exec chroot "$0" "$@"`, root,
		}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	log := &daemontest.Output{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Without these addresses the bridge starts a session bus and an SSH agent that outlive it.
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "TZ=UTC",
		"HOME=" + home, "XDG_RUNTIME_DIR=" + home + "/run", "XDG_DATA_HOME=" + home + "/data", "XDG_DATA_DIRS=" + home + "/usr/share:/usr/share", "XDG_CONFIG_DIRS=" + home + "/etc",
		"DBUS_SESSION_BUS_ADDRESS=unix:path=" + home + "/none", "SSH_AUTH_SOCK=/dev/null", "DBUS_SYSTEM_BUS_ADDRESS=" + address,
	}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with the bridge and its children
		<-ended
		if t.Failed() {
			t.Logf("Cockpit logged:\n%s", log)
		}
	})
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	awaitHTTP(t, url+"/ping", ended, log)
	return url
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, listener.Close()) }()
	return listener.Addr().(*net.TCPAddr).Port
}

// program returns the path of cockpit-ws, which differs between releases.
func program(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/lib/cockpit/cockpit-ws", "/usr/libexec/cockpit-ws"} {
		if _, err := os.Stat(filepath.Join("/", otherRoot(), path)); err == nil {
			return path
		}
	}
	t.Fatal("no cockpit-ws")
	return ""
}

func asUser(who user) []string {
	if who.uid == 0 {
		return nil
	}
	args := []string{"setpriv", fmt.Sprintf("--reuid=%d", who.uid), fmt.Sprintf("--regid=%d", who.uid)}
	if len(who.groups) == 0 {
		return append(args, "--clear-groups")
	}
	return append(args, "--groups="+strings.Trim(strings.ReplaceAll(fmt.Sprint(who.groups), " ", ","), "[]"))
}

// cockpitHome creates a home directory, and installs the page in its usr/share as the package does.
func cockpitHome(t *testing.T, who user) string {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "webtest-") //nolint:usetesting // every user gets there
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	must(t, os.Chmod(home, 0o755))
	install := exec.Command("../../../packaging/cockpit/install.sh", "install")
	install.Env = append(os.Environ(), "DESTDIR="+home, "PREFIX=/usr")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !who.conditions {
		dropConditions(t, filepath.Join(home, "usr/share/cockpit/osctl-eventd/manifest.json"))
	}
	must(t, os.Mkdir(filepath.Join(home, "run"), 0o700))
	must(t, os.MkdirAll(filepath.Join(home, "etc/cockpit"), 0o755))
	must(t, os.WriteFile(filepath.Join(home, "etc/cockpit/cockpit.conf"), []byte("[Session]\nIdleTimeout=0\n"), 0o644))
	must(t, exec.Command("chown", "-R", fmt.Sprint(who.uid), home).Run())
	return home
}

// installedPolicy is the file that the condition of the manifest names.
const installedPolicy = "/usr/share/dbus-1/system.d/org.osctl.Eventd.conf"

// dropConditions makes Cockpit show the page although the service is not installed here.
func dropConditions(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	var manifest map[string]any
	must(t, json.Unmarshal(text, &manifest))
	delete(manifest, "conditions")
	text, err = json.Marshal(manifest)
	must(t, err)
	must(t, os.WriteFile(file, text, 0o644))
}

// awaitHTTP waits until the server answers a URL.
func awaitHTTP(t *testing.T, url string, ended <-chan struct{}, log *daemontest.Output) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		must(t, err)
		if reply, err := client.Do(request); err == nil {
			_ = reply.Body.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("Cockpit ended:\n%s", log)
		case <-ctx.Done():
			t.Fatalf("Cockpit does not answer:\n%s", log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
