package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// completed returns what is offered for the last word, without descriptions.
func completed(t *testing.T, env []string, line string) string {
	t.Helper()
	args := append([]string{"__complete"}, strings.Split(line, " ")...)
	r := ctl(t, env, args...)
	if r.code != 0 {
		t.Errorf("%s: %+v", line, r)
	}
	var words []string
	for offered := range strings.Lines(r.stdout) {
		word, _, _ := strings.Cut(strings.TrimSpace(offered), "\t")
		if !strings.HasPrefix(word, ":") && !strings.HasPrefix(word, "_") { // the directive, and active help
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

func TestComplete(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	if got := completed(t, bus.Env(), "monitor t"); got != "" {
		t.Errorf("without a service: %q", got)
	}
	host := nstest.New(t)
	d := daemontest.Start(t, programs, host, bus.Address(), nil)
	client := d.Client(t)
	bind(t, host, client, "va", "tank", "101", "eth0")
	bind(t, host, client, "vb", "tank", "101", "lan0")
	bind(t, host, client, "vc", "net", "7", "eth0")
	report(t, client, 1, "state", "pool", "tank", "id", "102", "state", "running")
	report(t, client, 1, "state", "pool", "tank", "id", "a/b", "state", "running") // which tank:a/b does not mean
	report(t, client, 1, "state", "pool", "x:y", "id", "1", "state", "running")
	bind(t, host, client, "vd", "tank", "a/b", "eth0")
	report(t, client, 1, "state", "pool", "evil", "id", "a b\x1b", "state", "running")
	// A completion gives up after half a second, and the watcher takes in what was
	// reported a moment later, so each is asked for until it is right.
	for line, want := range map[string]string{
		"monitor ":                  "net:7 tank:101 tank:102",
		"monitor tank:1":            "tank:101 tank:102",
		"list tank:101/":            "tank:101/eth0 tank:101/lan0",
		"list tank:101/l":           "tank:101/lan0",
		"list tank:a":               "",
		"list tank:a/":              "tank:a/b/eth0",
		"list --id a":               "a/b",
		"wait --id a/b --pool t":    "tank",
		"wait --id a/b st":          "staged starting stopped stopping",
		"wait --id a/b stopped st":  "staged starting stopping",
		"wait --id a/b --name x ":   "down up",
		"containers net":            "net:7",
		"containers tank:101/":      "",
		"wait tank:102":             "tank:102",
		"wait tank:102 st":          "staged starting stopped stopping",
		"wait tank:102 stopped st":  "staged starting stopping",
		"wait tank:101/eth0 ":       "down up",
		"wait tank:101/eth0 up ":    "",
		"monitor --pool t":          "tank",
		"monitor --id 10":           "101 102",
		"monitor --type ct_n":       "ct_netif",
		"monitor --since o":         "oldest",
		"list --pool x":             "x:y",
		"list --veth v":             "va vap vb vbp vc vcp vd vdp",
		"list --name ":              "eth0 lan0 va vb vc vd",
		"list --state n":            "no-carrier",
		"list --state s":            "",
		"containers --state f":      "freezing frozen",
		"monitor --action fro":      "frozen",
		"report ct_i":               "ct_init_pid",
		"report state po":           "pool=",
		"report state pool=t":       "pool=tank",
		"status --bus s":            "session system",
		"status ":                   "",
		"completion ":               "bash fish zsh",
		"completion zsh ":           "",
		"wai":                       "wait",
		"--bus nowhere:x monitor t": "",
	} {
		got := completed(t, bus.Env(), line)
		for end := time.Now().Add(patience); got != want && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			got = completed(t, bus.Env(), line)
		}
		if got != want {
			t.Fatalf("%q: %q, want %q", line, got, want)
		}
	}
}

// shells complete `osctl-eventctl monitor tank:1` as when Tab is pressed, by the script in
// $SCRIPT, and print what comes of it.
func shells() map[string][]string {
	return map[string][]string{
		// The colon ends a word. The fallback of bash-completion's function is a part of the
		// script.
		"bash": {"bash", "--norc", "-c", `
			. "$SCRIPT"
			_get_comp_words_by_ref() { :; }
			_init_completion() { cur="tank:1"; prev=monitor; words=(osctl-eventctl monitor "tank:1"); cword=2; }
			COMP_LINE="osctl-eventctl monitor tank:1" COMP_POINT=29 COMP_TYPE=9 COMP_KEY=9 COMP_WORDBREAKS=":="
			__start_osctl-eventctl 2>/dev/null
			printf '%s\n' "${COMPREPLY[@]}"`},
		"fish": {"fish", "--no-config", "-c", `source $SCRIPT; complete -C "osctl-eventctl monitor tank:1"`},
		// A shell at a terminal of its own; it shows the line as it becomes.
		"zsh": {"zsh", "-f", "-c", `
			zmodload zsh/zpty
			zpty z zsh -f -i
			zpty -w z "fpath=($SCRIPT:h \$fpath); autoload -Uz compinit; compinit -u -D; PS1=; print RE''ADY"
			zpty -r z line "*READY*"
			zpty -n -w z $'osctl-eventctl monitor tank:1\t'
			zpty -r z line "*tank:101*"
			print -r -- "$line"
			zpty -d z`},
	}
}

// TestCompletionScripts has all shells complete by their scripts.
func TestCompletionScripts(t *testing.T) {
	bus, d := served(t)
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "101", "state", "running")
	completion := regexp.MustCompile(`(?m)(^|tank:)101\b`) // and not a number in a path
	for shell, args := range shells() {
		r := ctl(t, nil, "completion", shell)
		if r.code != 0 || len(r.stdout) < 1000 {
			t.Fatalf("%s: %+v", shell, r)
		}
		script := filepath.Join(t.TempDir(), "_osctl-eventctl") // the name that zsh wants
		if err := os.WriteFile(script, []byte(r.stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		home := t.TempDir()
		complete := func() (string, bool) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			cmd.Env = append(bus.Env(), "PATH="+programs+":/usr/bin:/bin", "SCRIPT="+script, "HOME="+home, "TERM=xterm")
			out, err := cmd.CombinedOutput()
			return fmt.Sprintf("%v: %s", err, out), err == nil && completion.Match(out)
		}
		// A completion gives up after half a second, so a busy machine gets another try.
		said, ok := complete()
		for end := time.Now().Add(patience); !ok && time.Now().Before(end); {
			said, ok = complete()
		}
		if !ok {
			t.Errorf("%s completes %s", shell, said)
		}
	}
}
