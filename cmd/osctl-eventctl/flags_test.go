package main

import (
	"strings"
	"testing"
)

// TestFlagErrors expects a word on what would be right.
func TestFlagErrors(t *testing.T) {
	for args, want := range map[string]string{
		"monitor --bogus":              "unknown flag: --bogus; see osctl-eventctl monitor --help\n",
		"--bogus":                      "unknown flag: --bogus; see osctl-eventctl --help\n",
		"monitor --since":              "flag needs an argument: --since; see osctl-eventctl monitor --help\n",
		"monitor -n x":                 `invalid argument "x" for "-n, --lines" flag: expected 1 to 16777216 events; see`,
		"monitor -n 0":                 `invalid argument "0" for "-n, --lines" flag: expected 1 to 16777216 events; see`,
		"monitor -n -1":                `invalid argument "-1" for "-n, --lines" flag: expected 1 to 16777216 events; see`,
		"monitor --type Up":            `--type "Up": expected a type that matches [a-z][a-z0-9_]{0,63}, like ct_netif`,
		"monitor --type ct-netif":      `--type "ct-netif": expected a type that matches`,
		"wait tank:1 up --timeout 5":   `invalid argument "5" for "--timeout" flag: expected a duration like 30s, 5m or 1d; see`,
		"wait tank:1 up --timeout -1s": `invalid argument "-1s" for "--timeout" flag: expected a duration like 30s, 5m or 1d; see`,
		"list --state running":         `--state "running": expected up, no-carrier, down` + "\n",
		"list --json --watch":          "--json and --watch: expected one of them alone\n",
		"containers --json -w":         "--json and --watch: expected one of them alone\n",
		"status --metrics --json":      "--json and --metrics: expected one of them alone\n",
		"completion":                   "which shell? Expected bash, zsh or fish\n",
		"completion tcsh":              "which shell? Expected bash, zsh or fish\n",
		"completion bash zsh":          "which shell? Expected bash, zsh or fish\n",
	} {
		r := ctl(t, []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent"}, strings.Fields(args)...)
		if r.code != 1 || r.stdout != "" || !strings.HasPrefix(r.stderr, "osctl-eventctl: "+want) {
			t.Errorf("%s: %+v, want %s", args, r, want)
		}
	}
}
