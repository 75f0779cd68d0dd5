package containers

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/osctl/eventd/hub"
)

// Container names a container: its pool, which may be its runtime, and its id, which is unique in the
// pool. Both are printable text of 1 to 255 bytes.
type Container struct{ Pool, ID string }

// maxText is the most bytes that a pool or an id has.
const maxText = 255

// rule is a row of the table. It recognises the containers of one runtime by their cgroups.
type rule struct {
	name string // for readers of the table and of a failed test

	// above is a regular expression for the path above the container's cgroup, and own one for
	// the cgroup's name. Their groups "pool" and "id" make the name of the container.
	above, own string
	pool       string              // for rules without the group "pool"
	decode     func(string) string // makes the id from the group "id"; nil leaves it

	// beside is a regular expression for the names of cgroups directly inside the container's, in
	// which the runtime runs processes of its own, in the namespace of the host.
	beside string
	pod    bool // counts before other containers in the same namespace
	argv   bool // if the id ends in -DIGITS, the real id is read from the monitor's command line

	// reports says that the manager reports the states of its containers, so the Tracker does not.
	reports bool

	example string    // a path that matches
	is      Container // the container of the example
}

// Paths above containers. Slices and scopes are systemd's. A service may be a container of an unknown
// runtime, so inService is only for runtimes that run inside a service.
const (
	inSlices  = `(?:/[^/]+\.slice|/user@\d+\.service|/(?:session|run|app|lxc)-[^/]*\.scope)*`
	inService = inSlices + `(?:/[^/]+\.service)?`
	hexID     = `(?P<id>[0-9a-f]{12,64})`
)

// rules returns the table. The cgroup nearest to the root of the hierarchy that a rule matches is the
// container's. The first rule that matches it counts.
func rules() []rule {
	const id = "f4e5d6c7b8a90123456789abcdef0123456789abcdef0123456789abcdef0123"
	const uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	slice := "kubepods-besteffort-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice"
	return []rule{
		{
			name: "osctl", above: `/osctl/pool\.(?P<pool>[^/]+)(?:/[^/]+)*/ct\.(?P<id>[^/]+)`, own: `user-owned`, reports: true,
			example: "/osctl/pool.tank/group.default/user.1/ct.100/user-owned/lxc.payload.100", is: Container{"tank", "100"},
		},
		{
			// Without systemd, LXC starts at the cgroup of pid 1, which podman's service and docker in docker
			// move to /init.
			name: "LXC, LXD, Incus", above: `(?:/init)?` + inService, own: `lxc\.payload\.(?P<id>.+)`, pool: "lxc", argv: true,
			example: "/lxc.payload.web_mail/init.scope", is: Container{"lxc", "web_mail"},
		},
		{
			name: "Proxmox VE", above: `/lxc`, own: `(?P<id>\d+)`, pool: "lxc",
			example: "/lxc/101/ns/init.scope", is: Container{"lxc", "101"},
		},
		{
			name: "systemd-machined", above: inSlices, own: `machine-(?P<id>.+)\.scope`, pool: "machine", decode: unescape, beside: `supervisor`,
			example: `/machine.slice/machine-my\x2dbox.scope/payload/init.scope`, is: Container{"machine", "my-box"},
		},
		{
			name: "systemd-nspawn@.service", above: inSlices, own: `systemd-nspawn@(?P<id>.+)\.service`, pool: "machine", decode: unescape, beside: `supervisor`,
			example: "/machine.slice/systemd-nspawn@my-box.service/payload", is: Container{"machine", "my-box"},
		},
		{
			name: "NixOS", above: inSlices, own: `container@(?P<id>.+)\.service`, pool: "machine", decode: unescape, beside: `supervisor`,
			example: "/machine.slice/container@web.service/payload", is: Container{"machine", "web"},
		},
		{
			name: "podman", above: inSlices + `(?:/libpod_parent(?:/[^/]+)?)?`, own: `libpod-` + hexID + `(?:\.scope)?`, pool: "podman",
			example: "/machine.slice/libpod-" + id + ".scope/container", is: Container{"podman", id},
		},
		{
			name: "podman in a service", above: inService, own: `libpod-payload-` + hexID, pool: "podman",
			example: "/system.slice/web.service/libpod-payload-" + id, is: Container{"podman", id},
		},
		{
			name: "docker with systemd", above: inSlices, own: `docker-` + hexID + `\.scope`, pool: "docker",
			example: "/system.slice/docker-" + id + ".scope", is: Container{"docker", id},
		},
		{
			name: "docker with cgroupfs", above: `/docker`, own: hexID, pool: "docker",
			example: "/docker/" + id, is: Container{"docker", id},
		},
		{
			name: "docker of Amazon ECS", above: `/ecs(?:/[^/]+)*`, own: `(?P<id>[0-9a-f]{64})`, pool: "docker",
			example: "/ecs/0123456789abcdef/" + id, is: Container{"docker", id},
		},
		{
			name: "nerdctl", above: inSlices, own: `nerdctl-` + hexID + `\.scope`, pool: "nerdctl",
			example: "/system.slice/nerdctl-" + id + ".scope", is: Container{"nerdctl", id},
		},
		{
			name: "kubelet with systemd", above: inSlices, own: `(?:.+-)?kubepods(?:-besteffort|-burstable)?-pod(?P<id>[0-9a-f_]{32,36})\.slice`,
			pool: "k8s", decode: dashes, beside: `crio-conmon-.*`, pod: true,
			example: "/kubepods.slice/kubepods-besteffort.slice/" + slice + "/cri-containerd-" + id + ".scope", is: Container{"k8s", uid},
		},
		{
			name: "kubelet with cgroupfs", above: inService + `(?:/kubelet)?/kubepods(?:/besteffort|/burstable)?`, own: `pod(?P<id>[0-9a-f-]{32,36})`,
			pool: "k8s", beside: `crio-conmon-.*`, pod: true,
			example: "/kubepods/burstable/pod" + uid + "/crio-" + id, is: Container{"k8s", uid},
		},
		{
			name: "kubelet with systemd, containerd with cgroupfs", above: inService, own: `kubepods(?:-besteffort|-burstable)?-pod(?P<id>[0-9a-f_]{32,36})\.slice:cri-containerd:.+`,
			pool: "k8s", decode: dashes, pod: true,
			example: "/system.slice/containerd.service/kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice:cri-containerd:" + id, is: Container{"k8s", uid},
		},
	}
}

// matcher is a rule with its regular expressions compiled.
type matcher struct {
	rule
	above, own, beside *regexp.Regexp
}

func compile(rules []rule) ([]matcher, error) {
	var failed error
	whole := func(r *rule, pattern string) *regexp.Regexp {
		re, err := regexp.Compile(`(?s)^(?:` + pattern + `)$`)
		if err != nil {
			failed = fmt.Errorf("rule for %s: %w", r.name, err)
		}
		return re
	}
	matchers := make([]matcher, len(rules))
	for i := range rules {
		r := &rules[i]
		matchers[i] = matcher{rule: *r, above: whole(r, r.above), own: whole(r, r.own)}
		if r.beside != "" {
			matchers[i].beside = whole(r, r.beside)
		}
	}
	return matchers, failed
}

// match returns the container whose cgroup is name in the path above, and the rule that matches; nil if
// the cgroup is no container's.
func match(matchers []matcher, above, name string) (Container, *matcher) {
	for i := range matchers {
		m := &matchers[i]
		own := m.own.FindStringSubmatch(name)
		if own == nil {
			continue
		}
		up := m.above.FindStringSubmatch(above)
		if up == nil {
			continue
		}
		group := func(name, otherwise string) string {
			if at := m.above.SubexpIndex(name); at >= 0 {
				return up[at]
			}
			if at := m.own.SubexpIndex(name); at >= 0 {
				return own[at]
			}
			return otherwise
		}
		c := Container{Pool: group("pool", m.pool), ID: group("id", "")}
		if m.decode != nil {
			c.ID = m.decode(c.ID)
		}
		if c = (Container{Pool: show(c.Pool), ID: show(c.ID)}); c.Pool != "" && c.ID != "" {
			return c, m
		}
	}
	return Container{}, nil
}

// show returns a name as text.
func show(name string) string { return hub.PlainText([]byte(name), maxText) }

// escaped is a byte that systemd escaped in the name of a unit.
var escaped = regexp.MustCompile(`\\x[0-9a-fA-F]{2}`)

// unescape decodes the \xNN in systemd's unit names. It keeps dashes, although a
// dash stands for a slash in other units: names of machines have no slash, and
// systemd-nspawn@.service does not escape the name (its --machine=%i).
func unescape(name string) string {
	return escaped.ReplaceAllStringFunc(name, func(m string) string {
		b, _ := hex.DecodeString(m[2:]) // it matched
		return string(b)
	})
}

// dashes restores the uid of a pod from the name of a slice, where the kubelet writes _ for each dash
// because a dash would be a level.
func dashes(id string) string { return strings.ReplaceAll(id, "_", "-") }
