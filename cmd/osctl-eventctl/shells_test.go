package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// shell is an interactive shell on a pseudo-terminal, with the completion script loaded.
type shell struct {
	name string
	tty  *os.File
	out  daemontest.Output
	dir  string // working directory: empty unless a completion executed something
	said int
}

// startShell starts bash, zsh or fish. The environment names no bus; the typed commands do.
func startShell(t *testing.T, name string) *shell {
	t.Helper()
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil { // otherwise fish leaves a directory in /tmp
		t.Fatal(err)
	}
	script := filepath.Join(home, "_osctl-eventctl") // the name that zsh wants
	printed := ctl(t, nil, "completion", name)
	if printed.code != 0 {
		t.Fatal(printed)
	}
	start := map[string]struct {
		file, text string
		args       []string
	}{
		"bash": {".bashrc", ". /usr/share/bash-completion/bash_completion; PS1='ready> '; . " + script, []string{"-i"}},
		"zsh":  {".zshrc", "fpath=(" + home + " $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready> '", []string{"-d", "-i"}},
		"fish": {".config/fish/config.fish", "function fish_prompt; echo 'ready> '; end; source " + script, []string{"-i"}},
	}[name]
	rc := filepath.Join(home, start.file)
	if err := os.MkdirAll(filepath.Dir(rc), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{script: printed.stdout, rc: start.text + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &shell{name: name, dir: t.TempDir()}
	cmd := exec.Command(name, start.args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"HOME=" + home, "ZDOTDIR=" + home, "PATH=" + programs + ":/usr/bin:/bin", "TERM=xterm", "LANG=C.UTF-8", "XDG_RUNTIME_DIR=" + home}
	var err error
	if s.tty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 300}); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(&s.out, s.tty)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		<-drained
		_ = s.tty.Close()
	})
	apitest.Eventually(t, name+" has a prompt", func() bool { return strings.Contains(s.out.String(), "ready> ") })
	return s
}

// keys types keys.
func (s *shell) keys(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// say types keys, appends an echo to the line, executes it, and returns what echo printed.
func (s *shell) say(t *testing.T, keys string) string {
	t.Helper()
	s.said++
	s.keys(t, fmt.Sprintf("%secho SA''ID%d \r", keys, s.said))
	form := regexp.MustCompile(fmt.Sprintf(`SAID%d ?([^\r\n]*)\r?\n`, s.said))
	apitest.Eventually(t, s.name+" has executed the line", func() bool { return form.MatchString(s.out.String()) })
	return form.FindStringSubmatch(s.out.String())[1]
}

// completes types a line and Tab until the completed line ends with want.
func (s *shell) completes(t *testing.T, line, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; { // a completion may time out on a busy machine
		s.keys(t, line+"\t")
		if words := s.say(t, "\x01"); strings.HasSuffix(words, want) { // Ctrl-A: the line becomes arguments
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s completes %q to %q, want %q", s.name, line, words, want)
		}
	}
}

// TestShells completes command lines in each shell.
func TestShells(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	client := daemontest.Start(t, programs, host, bus.Address(), nil).Client(t)
	bind(t, host, client, "va", "tank", "101", "eth0")
	report(t, client, 1, "state", "pool", "tank", "id", "101", "state", "running")
	const on = "osctl-eventctl --bus "
	address := bus.Address()
	for _, name := range []string{"bash", "zsh", "fish"} {
		s := startShell(t, name)
		for line, want := range map[string]string{
			on + address + " monitor tank:1":           "tank:101",
			on + "'" + address + "' monitor t":         "tank:101",
			on + `"` + address + `" wait tank:101/e`:   "tank:101/eth0",
			on + address + " wait 'tank:1":             "wait tank:101",
			on + address + " list --name=et":           "--name=eth0",
			on + address + " list --name 'a b' --id 1": "--id 101",
			on + address + " report state pool=t":      "pool=tank",
			on + address + " report ct_ex":             "ct_exit",
			"osctl-eventctl mon":                       "monitor",
			"osctl-eventctl report --batch /etc/pass":  "/etc/passwd",
			"osctl-eventctl list --wat":                "--watch",
		} {
			s.completes(t, line, want)
		}
	}
}

// hostileNames returns names that create a file if a shell evaluates them.
func hostileNames() []string {
	return []string{"$(id>pwn)a", "$(id>pwn)b", "a;id>pwn", "`id>pwn`", "a&id>pwn", "a|id>pwn", "(id>pwn)", "=(id>pwn)", "<(id>pwn)", "'$(id>pwn)'", "\"$(id>pwn)"}
}

// TestShellsRunNothing completes names that a hostile container has chosen, also after such a name on
// the line, in any quotes. No shell may execute anything.
func TestShellsRunNothing(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	client := daemontest.Start(t, programs, host, bus.Address(), nil).Client(t)
	bind(t, host, client, "va", "tank", "101", "eth0")
	for i, name := range hostileNames() {
		bind(t, host, client, fmt.Sprint("evil", i), "tank", "101", name)
		report(t, client, 1, "state", "pool", name, "id", name, "state", name)
	}
	report(t, client, 1, "state", "pool", "tank", "id", "101", "state", "$(id>pwn)")
	for _, line := range []string{"list ", "wait tank:101/", "monitor --id ", "list --name ", "list --pool ", "report state id=", "report state pool="} {
		if offered := completed(t, bus.Env(), line); !regexp.MustCompile(`^[\w.:@%+,=/ -]*$`).MatchString(offered) {
			t.Errorf("%s: offered is %s", line, offered)
		}
	}
	words := []string{"", "a", "tank:101/", "--name ", "--name a", "--name=", "--id ", "--pool "}
	for _, name := range hostileNames() {
		for _, quote := range []string{"'", `"`} {
			if !strings.Contains(name, quote) {
				words = append(words, "--name "+quote+name+quote+" --id ", "tank:101/"+quote+name+quote+" ")
			}
		}
	}
	on := "osctl-eventctl --bus '" + bus.Address() + "' "
	for _, name := range []string{"bash", "zsh", "fish"} {
		s := startShell(t, name)
		s.completes(t, on+"list --name et", "eth0") // now the other names are known as well
		before := len(s.out.String())
		for _, command := range []string{"list ", "wait "} {
			for _, word := range words {
				s.keys(t, on+command+word+"\t\t\t")
				s.say(t, "\x15") // Ctrl-U: the line is left
				if made, err := os.ReadDir(s.dir); err != nil || len(made) > 0 {
					t.Fatalf("%s executed a part of %q: %v, %v", name, command+word, made, err)
				}
			}
		}
		if !strings.Contains(s.out.String()[before:], "eth0") { // never typed
			t.Errorf("%s offered nothing", name)
		}
	}
}
