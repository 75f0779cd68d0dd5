package main

import (
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// bind creates a pair of veths on the host, and reports the first one as a container's interface. It
// returns the ifindexes of both.
func bind(t testing.TB, host *nstest.NS, c *client.Client, veth, pool, id, name string) (ifindex, peer int) {
	t.Helper()
	ifindex, err := host.Pair(veth, veth+"p", nil)
	if err == nil {
		peer, err = host.Index(veth + "p")
	}
	if err == nil {
		_, err = c.Report(t.Context(), hub.TypeNetif, hub.Options{
			{Name: "pool", Value: hub.String(pool)},
			{Name: "id", Value: hub.String(id)},
			{Name: "action", Value: hub.String("add")},
			{Name: "name", Value: hub.String(name)},
			{Name: "veth", Value: hub.String(veth)},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return ifindex, peer
}

func TestList(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	d := daemontest.Start(t, programs, host, bus.Address(), nil)
	client := d.Client(t)
	a, b := bind(t, host, client, "va", "tank", "101", "eth0")
	bind(t, host, client, "vb", "tank", "101", "eth1")
	c, _ := bind(t, host, client, "vc", "dozer", "9", "eth0")
	for _, ifindex := range []int{a, b, c} {
		if err := host.Up(ifindex); err != nil {
			t.Fatal(err)
		}
	}
	if r := ctl(t, bus.Env(), "wait", "tank:101/eth0", "up"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	apitest.Eventually(t, "the list has all states", func() bool {
		rows, _, err := client.Interfaces(t.Context(), hub.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		state := map[string]hub.LinkState{}
		for _, row := range rows {
			if row.Pool != "" && row.Name != "" {
				state[row.Veth] = row.State
			}
		}
		return maps.Equal(state, map[string]hub.LinkState{"va": hub.LinkUp, "vb": hub.LinkDown, "vc": hub.LinkNoCarrier})
	})
	if r := ctl(t, bus.Env(), "list", "--pool", "tank", "--pool", "dozer"); r.code != 0 ||
		!regexp.MustCompile(`^CONTAINER  NAME  STATE +VETH  IFINDEX\ndozer:9    eth0  no-carrier  vc    \d+\ntank:101   eth0  up          va    \d+\ntank:101   eth1  down        vb    \d+\n$`).MatchString(r.stdout) {
		t.Errorf("the table is\n%s%s", r.stdout, r.stderr)
	}
	for args, want := range map[string]string{
		"tank:101":                   "va vb",
		"tank:101/eth0 dozer:9":      "va vc",
		"--name eth0":                "va vc",
		"--veth vb":                  "vb",
		"--state down --pool tank":   "vb",
		"--id 101 --name eth1":       "vb",
		"--id nobody":                "",
		"--pool dozer tank:101/eth0": "",
		"--veth veth-x":              "",
		"--state no-carrier va:1":    "",
	} {
		r := ctl(t, bus.Env(), append([]string{"list", "--json"}, strings.Fields(args)...)...)
		var veths []string
		for line := range strings.Lines(r.stdout) {
			var row struct {
				Veth, Pool, State string
				Ifindex           int
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil || row.Ifindex == 0 || row.State == "" {
				t.Errorf("%s: %v", line, err)
			}
			veths = append(veths, row.Veth)
		}
		unknown := strings.Contains(r.stderr, "; see osctl-eventctl list and osctl-eventctl containers --all")
		if got := strings.Join(veths, " "); got != want || (r.code == 1) != (want == "") || unknown != (want == "") {
			t.Errorf("list %s: %q, status %d %s, want %q", args, got, r.code, r.stderr, want)
		}
	}
	// list prints the containers it finds even if others are unknown. A container without
	// interfaces is known.
	if r := ctl(t, bus.Env(), "list", "--json", "dozer:9", "tank:7/x\x1b"); r.code != 1 || !strings.Contains(r.stdout, `"vc"`) ||
		!strings.Contains(r.stderr, `osctl-eventctl: unknown: tank:7/x\x1b; `) {
		t.Errorf("one known and one unknown argument: %+v", r)
	}
	// The error names the arguments and flags that are unknown, and none that is known.
	for args, want := range map[string]string{
		"--id 101 --id nobody":                    `--id "nobody"`,
		"--pool tank --name eth7 --name eth0":     `--name "eth7"`,
		"--pool tank --veth nope":                 `--veth "nope"`,
		"tank:101 --veth nope":                    `--veth "nope"`,
		"tank:101 tank:7 --veth nope":             `tank:7`,
		"tank:101 dozer:9 --name eth1 --state up": ``,
		"--name=": `--name ""`,
		"--veth=": `--veth ""`,
	} {
		if want != "" {
			want = "osctl-eventctl: unknown: " + want + "; see osctl-eventctl list and osctl-eventctl containers --all\n"
		}
		if r := ctl(t, bus.Env(), append([]string{"list"}, strings.Fields(args)...)...); r.stderr != want || (r.code == 1) != (want != "") {
			t.Errorf("list %s: %+v, want %q", args, r, want)
		}
	}
	report(t, client, 1, "state", "pool", "tank", "id", "102", "state", "running")
	for _, args := range []string{"tank:102", "--pool tank --id 102", "--state no-carrier tank:101"} {
		if r := ctl(t, bus.Env(), append([]string{"list", "--json"}, strings.Fields(args)...)...); r != (result{}) {
			t.Errorf("list %s: %+v", args, r)
		}
	}
}

func TestContainers(t *testing.T) {
	bus, d := startService(t)
	client := d.Client(t)
	report(t, client, 1, "state", "pool", "tank", "id", "10", "state", "running")
	report(t, client, 1, "state", "pool", "tank", "id", "9", "state", "stopped")
	report(t, client, 1, "state", "pool", "evil", "id", "\x1b[2J", "state", "\u009b31m")
	r := ctl(t, bus.Env(), "containers", "-a")
	if !regexp.MustCompile(`^CONTAINER +STATE +SINCE\nevil:\\x1b\[2J +\\u009b31m +\S+ \S+\ntank:9 +stopped +\S+ \S+\ntank:10 +running +\S+ \S+\n$`).MatchString(r.stdout) {
		t.Errorf("the table is\n%q%s", r.stdout, r.stderr)
	}
	for args, want := range map[string]int{
		"": 2, "--all": 3, "tank:9": 1, "--id 9": 1, "--state stopped": 1, "--state running": 1, "--pool tank": 1, "--pool tank --all": 2,
		"--state error": 0, "--id 10 tank:9": -1, "tank:7": -1,
	} {
		r := ctl(t, bus.Env(), append([]string{"containers", "--json"}, strings.Fields(args)...)...)
		if got := strings.Count(r.stdout, "\n") - r.code; got != want {
			t.Errorf("containers %s: %d rows, %s, want %d", args, got, r.stderr, want)
		}
	}
	if r := ctl(t, bus.Env(), "status"); !regexp.MustCompile(`(?m)^Containers: +2$`).MatchString(r.stdout) {
		t.Errorf("the status does not count the containers that are not stopped: %+v", r)
	}
	if r := ctl(t, bus.Env(), "containers", "tank:9/eth0"); r.code != 1 || !strings.Contains(r.stderr, "use the command list for interfaces; if the id has a slash") {
		t.Errorf("an interface: %+v", r)
	}
	s := onScreen(t, bus, 80, 24, "containers")
	s.untilText(t, "tank:10")
	s.wait(t)
	if all := s.stdout.String(); !strings.Contains(all, "\x1b[32mrunning\x1b[0m") || strings.Contains(all, "\x1b[2J") || strings.Contains(all, "\u009b") {
		t.Errorf("on a terminal: %q", all)
	}
	s = onScreen(t, bus, 80, 24, "monitor", "--json", "--no-follow", "--pool", "evil")
	s.wait(t)
	if all := s.stdout.String(); !strings.Contains(all, `"id":"\u001b[2J","state":"\u009b31m"`) {
		t.Errorf("as JSON on a terminal: %q", all)
	}
	for _, variable := range []string{"NO_COLOR=1", "TERM=dumb"} {
		s := onScreenWith(t, bus, variable, 80, 24, "containers")
		s.untilText(t, "tank:10")
		s.wait(t)
		if all := s.stdout.String(); strings.Contains(all, "\x1b") {
			t.Errorf("with %s: %q", variable, all)
		}
	}
}
