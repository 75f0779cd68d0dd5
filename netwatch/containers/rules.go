package containers

import (
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

// rule is a row of the table: it says which cgroups are a runtime's containers.
type rule struct {
	name string // for whoever reads the table or a failed test

	// above is a regular expression for the path above the container's cgroup, and own one for
	// its name. The groups "pool" and "id" in them are what the container is called.
	above, own string
	pool       string              // for rules without the group "pool"
	decode     func(string) string // makes the id from the group "id"; nil leaves it

	// beside is a regular expression for names of cgroups right inside which hold what the runtime
	// runs beside the container, in the namespace of the host.
	beside string
	pod    bool // of several containers in one namespace it counts
	argv   bool // an id that ends in -DIGITS is asked of the monitor's command line

	// reports says that the manager reports the states of its containers, so the Tracker does not.
	reports bool

	example string // a path that matches
	is      Container
}

// Paths above containers. Slices and scopes are systemd's; a service may be a container of a
// runtime that the table does not know, so it is named where it may be above one.
const (
	inSlices  = `(?:/[^/]+\.slice|/user@\d+\.service|/(?:session|run|app|lxc)-[^/]*\.scope)*`
	inService = inSlices + `(?:/[^/]+\.service)?`
	hexID     = `(?P<id>[0-9a-f]{12,64})`
)

// rules returns the table. The cgroup nearest to the root of the hierarchy that one of them
// matches is the container's; of two that match the same cgroup the first.
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
			name: "LXC, LXD, Incus", above: inService, own: `lxc\.payload\.(?P<id>.+)`, pool: "lxc", argv: true,
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

// matcher is a rule made ready.
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

// match returns the container whose cgroup is the one called name in the path above, and the
// rule that says so; nil if it is none.
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

// dashes undoes what the kubelet does to a pod's uid in the name of a slice, where a dash would
// be a level.
func dashes(id string) string { return strings.ReplaceAll(id, "_", "-") }
