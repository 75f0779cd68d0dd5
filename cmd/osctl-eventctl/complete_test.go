package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

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
	report(t, client, 1, "state", "pool", "evil", "id", "a b\x1b", "state", "running")
	for line, want := range map[string]string{
		"monitor ":                  "net:7 tank:101 tank:102",
		"monitor tank:1":            "tank:101 tank:102",
		"list tank:101/":            "tank:101/eth0 tank:101/lan0",
		"list tank:101/l":           "tank:101/lan0",
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
		"list --veth v":             "va vap vb vbp vc vcp",
		"list --name ":              "eth0 lan0 va vb vc",
		"list --state n":            "no-carrier",
		"report ct_i":               "ct_init_pid",
		"report state po":           "pool=",
		"report state pool=t":       "pool=tank",
		"status --bus s":            "session system",
		"status ":                   "",
		"wai":                       "wait",
		"--bus nowhere:x monitor t": "",
	} {
		if got := completed(t, bus.Env(), line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// TestCompletionScripts makes the scripts for all shells, and has those shells that are
// there read them.
func TestCompletionScripts(t *testing.T) {
	bus, d := served(t)
	report(t, d.Client(t), 1, "state", "pool", "tank", "id", "101", "state", "running")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := ctl(t, nil, "completion", shell)
		if r.code != 0 || len(r.stdout) < 1000 {
			t.Fatalf("%s: %+v", shell, r)
		}
		if shell != "bash" {
			continue
		}
		// As bash does it when Tab is pressed after `monitor tank:1`, where the colon
		// ends a word. The fallback of bash-completion's function is a part of the script.
		cmd := exec.Command("bash", "-c", r.stdout+`
			_get_comp_words_by_ref() { :; }
			_init_completion() { cur="tank:1"; prev=monitor; words=(osctl-eventctl monitor "tank:1"); cword=2; }
			COMP_LINE="osctl-eventctl monitor tank:1" COMP_POINT=29 COMP_TYPE=9 COMP_KEY=9 COMP_WORDBREAKS=":="
			__start_osctl-eventctl 2>/dev/null
			printf '%s\n' "${COMPREPLY[@]}"`)
		cmd.Env = append(bus.Env(), "PATH="+programs+":/usr/bin:/bin")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "101") {
			t.Errorf("bash completes %v: %s", err, out)
		}
	}
}
