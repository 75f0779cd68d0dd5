package main

import "testing"

func TestTargets(t *testing.T) {
	for arg, want := range map[string]target{
		"tank:101": {"tank", "101", ""}, "tank:101/eth0": {"tank", "101", "eth0"}, "lxc:a/b/c": {"lxc", "a/b", "c"}, "k8s:a:b": {"k8s", "a:b", ""},
	} {
		if got, err := parseTarget(arg); err != nil || got != want || got.String() != arg {
			t.Errorf("%s: %+v, %v", arg, got, err)
		}
	}
	for _, bad := range []string{"", "tank", ":1", "tank:", "tank:/eth0", "tank:1/"} {
		if _, err := parseTarget(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
