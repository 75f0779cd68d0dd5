package main

import (
	"strings"
	"testing"
)

// TestFlagErrors checks that errors say what a flag or an argument expects.
func TestFlagErrors(t *testing.T) {
	for args, want := range map[string]string{
		"monitor --bogus":                "unknown flag: --bogus; see osctl-eventctl monitor --help\n",
		"--bogus":                        "unknown flag: --bogus; see osctl-eventctl --help\n",
		"monitor --since":                "flag needs an argument: --since; see osctl-eventctl monitor --help\n",
		"monitor -n x":                   `--lines "x": expected 1 to 16777216 events; see`,
		"monitor -n 0":                   `--lines "0": expected 1 to 16777216 events; see`,
		"monitor -n -1":                  `--lines "-1": expected 1 to 16777216 events; see`,
		"monitor --type Up":              `--type "Up": expected a type that matches [a-z][a-z0-9_]{0,63}, like ct_netif`,
		"monitor --type ct-netif":        `--type "ct-netif": expected a type that matches`,
		"wait tank:1 up --timeout 5":     `--timeout "5": expected a duration like 30s, 5m or 1d; see`,
		"wait tank:1 up --timeout -1s":   `--timeout "-1s": expected a duration like 30s, 5m or 1d; see`,
		"list --state running":           `--state "running": expected up, no-carrier, down` + "\n",
		"list --json --watch":            "--json and --watch: expected one of them, not both\n",
		"containers --json -w":           "--json and --watch: expected one of them, not both\n",
		"status --metrics --json":        "--json and --metrics: expected one of them, not both\n",
		"completion":                     "which shell? Expected bash, zsh or fish\n",
		"completion tcsh":                "which shell? Expected bash, zsh or fish\n",
		"completion bash zsh":            "which shell? Expected bash, zsh or fish\n",
		"run --retry -1 -- true":         `--retry "-1": expected a number from 0 to 65535; see osctl-eventctl run --help` + "\n",
		"run --retry 65536 -- true":      `--retry "65536": expected a number from 0 to 65535; see`,
		"list --json=maybe":              `--json "maybe": expected true or false; see`,
		"moniter":                        "unknown command \"moniter\" for \"osctl-eventctl\"\n\nDid you mean this?\n  monitor\n",
		"help moniter":                   `unknown command "moniter" for "osctl-eventctl"`,
		"help run x":                     `argument "x": expected only a command`,
		"monitor --cursor-file=":         "--cursor-file is empty\n",
		"monitor --since= --format=":     "--since is empty\n",
		"wait --pool= --id=1 running":    "--pool is empty\n",
		"report --batch=":                "--batch is empty\n",
		"events --since 10m --until 20m": "--since 10m is after --until 20m: no event is between them\n",
		"monitor --format {{.Foo}}":      `template: --format:1:2: executing "--format" at <.Foo>: can't evaluate field Foo in type an event; expected a template like`,
		"show --pool x tank:1":           "show which container? Expected POOL:ID",
		"show veth1":                     `"veth1": expected a container as POOL:ID, like tank:101, or its interface as POOL:ID/INTERFACE, like tank:101/eth0`,
		"wait tank:1 up":                 "up is a state of interfaces: expected one, like tank:1/eth0, or a state of the container, like running\n",
	} {
		r := ctl(t, []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent"}, strings.Fields(args)...)
		if r.code != 1 || r.stdout != "" || !strings.HasPrefix(r.stderr, "osctl-eventctl: "+want) {
			t.Errorf("%s: %+v, want %s", args, r, want)
		}
	}
}
