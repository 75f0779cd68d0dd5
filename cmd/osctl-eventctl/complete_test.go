package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// completed returns the offers for the last word, without descriptions.
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
	report(t, client, 1, "state", "pool", "tank", "id", "a/b", "state", "running") // tank:a/b names an interface of tank:a instead
	report(t, client, 1, "state", "pool", "x:y", "id", "1", "state", "running")
	report(t, client, 1, "backup_done")
	bind(t, host, client, "vd", "tank", "a/b", "eth0")
	report(t, client, 1, "state", "pool", "evil", "id", "a b\x1b", "state", "running")
	// A completion times out after half a second, and the watcher handles reports a moment later. So the
	// test repeats each completion until it is right.
	for line, want := range map[string]string{
		"monitor ":                       "net:7 tank:101 tank:102",
		"monitor tank:1":                 "tank:101 tank:102",
		"list tank:101/":                 "tank:101/eth0 tank:101/lan0",
		"list tank:101/l":                "tank:101/lan0",
		"list tank:a":                    "",
		"list tank:a/":                   "tank:a/b/eth0",
		"list --id a":                    "a/b",
		"wait --id a/b --pool t":         "tank",
		"wait --id a/b st":               "staged starting stopped stopping",
		"wait --id a/b stopped st":       "staged starting stopping",
		"wait --id a/b --name x ":        "down gone up",
		"containers net":                 "net:7",
		"containers tank:101/":           "",
		"wait tank:102":                  "tank:102",
		"wait tank:102 st":               "staged starting stopped stopping",
		"wait tank:102 stopped st":       "staged starting stopping",
		"wait tank:101/eth0 ":            "down gone up",
		"wait tank:102 running tank:102": "tank:102",
		"wait --type x tank:102":         "tank:102",
		"wait tank:101/eth0 up ":         "",
		"monitor --pool t":               "tank",
		"monitor --id 10":                "101 102",
		"monitor --type ct_n":            "ct_netif",
		"monitor --since o":              "oldest",
		"list --pool x":                  "x:y",
		"list --veth v":                  "va vap vb vbp vc vcp vd vdp",
		"list --name ":                   "eth0 lan0 va vb vc vd",
		"list --state n":                 "no-carrier",
		"list --state s":                 "",
		"containers --state f":           "freezing frozen",
		"monitor --action fro":           "frozen",
		"report ct_ini":                  "ct_init_pid",
		"report ct_netif ":               "action= id= name= new_name= pool= veth=",
		"report ct_netif pool=a action=": "action=add action=down action=remove action=rename action=up",
		"report ct_netif pool=a id=b n":  "name= new_name=",
		"report management id:=1 ":       "cmd= opts:= state=",
		"report state state=run":         "state=running",
		"report osctld_shutdown ":        "",
		"report other ":                  "id= pool=",
		"monitor --type ba":              "backup_done",
		"monitor --type state,ct_n":      "state,ct_netif",
		"report state po":                "pool=",
		"report state pool=t":            "pool=tank",
		"status --bus s":                 "session system",
		"status ":                        "",
		"completion ":                    "bash fish zsh",
		"completion zsh ":                "",
		"wai":                            "wait",
		"--bus nowhere:x monitor t":      "",
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

// TestTypeOptions reports each type with the options that completion offers.
func TestTypeOptions(t *testing.T) {
	for _, typ := range types() {
		var options hub.Options
		for option, values := range reportOptions(typ) {
			name, integer := strings.CutSuffix(strings.TrimSuffix(option, "="), ":")
			o := hub.Option{Name: name, Value: hub.String(append(values, "text")[0])}
			switch {
			case option == "opts:=", option == "labels:=":
				o.Value = hub.Dict("s", "s", nil)
			case option == "id:=":
				continue // beside id=
			case integer:
				o.Value = hub.Int64(1)
			}
			options = append(options, o)
		}
		if _, err := hub.NewEvent(typ, options, "test"); err != nil {
			t.Error(err)
		}
	}
}
