package owner

import (
	"fmt"
	"regexp"
	"strings"
)

// rule says which cgroups are a container's. A new runtime is a new row in rules.
type rule struct {
	name string // for whoever reads the table or a failed test

	// pattern is a path of a cgroup. Each component is a regular expression that a
	// component has to match as a whole; ** stands for any number of components. With
	// a slash in front it begins at the root of the hierarchy, otherwise anywhere. The
	// groups "pool" and "id" are what the container is called.
	pattern string
	pool    string              // the pool, for rules without the group "pool"
	decode  func(string) string // makes the id from the group "id"; nil leaves it

	// except is a regular expression for names of cgroups right inside which hold
	// what the runtime runs beside the container, in the namespace of the host.
	except string

	// lasting says that the cgroup stays when the container stops, and the next run is
	// in new ones inside of it, which the container itself cannot make there.
	lasting bool

	// payload, with the id behind it, is the cgroup right inside where the init is mostly.
	payload string

	example string // a path that matches
	is      Container
}

// rules returns the table. The cgroup nearest to the root of the hierarchy that one
// of them matches is the container's; of two that match the same cgroup the first.
func rules() []rule {
	const id = "f4e5d6c7b8a90123456789abcdef0123456789abcdef0123456789abcdef0123"
	const uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	return []rule{
		{
			name: "osctl", pattern: `/osctl/pool\.(?P<pool>.+)/**/ct\.(?P<id>.+)/user-owned`, lasting: true, payload: "lxc.payload.",
			example: "/osctl/pool.tank/group.default/user.1/ct.100/user-owned/lxc.payload.100", is: Container{"tank", "100"},
		},
		{
			name: "LXC, LXD, Incus", pattern: `lxc\.payload\.(?P<id>.+)`, pool: "lxc",
			example: "/lxc.payload.web_mail/init.scope", is: Container{"lxc", "web_mail"},
		},
		{
			name: "systemd-machined", pattern: `machine-(?P<id>.+)\.scope`, pool: "machine",
			decode: unescape, except: `supervisor`,
			example: `/machine.slice/machine-my\x2dbox.scope/payload/init.scope`, is: Container{"machine", "my-box"},
		},
		{
			name: "systemd-nspawn@.service", pattern: `systemd-nspawn@(?P<id>.+)\.service`, pool: "machine",
			decode: unescape, except: `supervisor`,
			example: "/machine.slice/systemd-nspawn@my-box.service/payload", is: Container{"machine", "my-box"},
		},
		{
			name: "podman", pattern: `libpod-(?:payload-)?(?P<id>[0-9a-f]+)(?:\.scope)?`, pool: "podman",
			example: "/machine.slice/libpod-" + id + ".scope/container", is: Container{"podman", id},
		},
		{
			name: "docker with systemd", pattern: `docker-(?P<id>[0-9a-f]+)\.scope`, pool: "docker",
			example: "/system.slice/docker-" + id + ".scope", is: Container{"docker", id},
		},
		{
			name: "docker with cgroupfs", pattern: `docker/(?P<id>[0-9a-f]+)`, pool: "docker",
			example: "/docker/" + id, is: Container{"docker", id},
		},
		{
			name: "kubelet with systemd", pattern: `(?:.+-)?kubepods(?:-besteffort|-burstable)?-pod(?P<id>[0-9a-f_]{32,36})\.slice`,
			pool: "k8s", decode: dashes, except: `crio-conmon-.*`, lasting: true,
			example: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll(uid, "-", "_") +
				".slice/cri-containerd-" + id + ".scope", is: Container{"k8s", uid},
		},
		{
			name: "kubelet with cgroupfs", pattern: `kubepods/**/pod(?P<id>[0-9a-f-]{32,36})`,
			pool: "k8s", except: `crio-conmon-.*`, lasting: true,
			example: "/kubepods/burstable/pod" + uid + "/crio-" + id, is: Container{"k8s", uid},
		},
		{
			// containerd with cgroupfs under a kubelet with systemd
			name: "kubelet and containerd at odds", pattern: `kubepods(?:-besteffort|-burstable)?-pod(?P<id>[0-9a-f_]{32,36})\.slice:cri-containerd:.+`,
			pool: "k8s", decode: dashes,
			example: "/system.slice/containerd.service/kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice:cri-containerd:" + id,
			is:      Container{"k8s", uid},
		},
	}
}

// matcher is a rule made ready.
type matcher struct {
	rule
	anchored bool
	last     string // the last component, if it is one name and the rule begins at the root
	parts    []component
	except   *regexp.Regexp
}

// component matches one component of a path.
type component struct {
	any    bool // **
	prefix string
	re     *regexp.Regexp
}

func compile(rules []rule) ([]matcher, error) {
	matchers := make([]matcher, 0, len(rules))
	for _, r := range rules {
		m := matcher{rule: r}
		pattern, anchored := strings.CutPrefix(r.pattern, "/")
		m.anchored = anchored
		for part := range strings.SplitSeq(pattern, "/") {
			c := component{any: part == "**"}
			if !c.any {
				re, err := regexp.Compile(part)
				if err != nil {
					return nil, fmt.Errorf("rule for %s: %w", r.name, err)
				}
				c.prefix, _ = re.LiteralPrefix() // an anchor would hide it
				c.re = regexp.MustCompile(`(?s)^(?:` + part + `)$`)
			}
			m.parts = append(m.parts, c)
			if m.last = ""; anchored && part == regexp.QuoteMeta(part) {
				m.last = part
			}
		}
		if r.except != "" {
			re, err := regexp.Compile(`^(?:` + r.except + `)$`)
			if err != nil {
				return nil, fmt.Errorf("rule for %s: %w", r.name, err)
			}
			m.except = re
		}
		matchers = append(matchers, m)
	}
	return matchers, nil
}

// spares reports whether a cgroup right inside the container's, by its name, holds
// what is not in the container.
func (m *matcher) spares(name string) bool {
	return m.except != nil && m.except.MatchString(name)
}

// matchPath returns the container that a process in a cgroup is in.
func matchPath(matchers []matcher, path string) (Container, bool) {
	parts := split(path)
	for i := range parts {
		c, m := matchEnd(matchers, parts[:i+1])
		if m == nil {
			continue
		}
		if i+1 < len(parts) && m.spares(parts[i+1]) {
			return Container{}, false
		}
		return c, true
	}
	return Container{}, false
}

// matchEnd returns the container whose cgroup is the one at the end of a path, and
// the rule that says so; nil if it is none.
func matchEnd(matchers []matcher, parts []string) (Container, *matcher) {
	for i := range matchers {
		m := &matchers[i]
		c := Container{Pool: m.pool}
		if !m.match(len(m.parts)-1, parts, &c) {
			continue
		}
		if m.decode != nil {
			c.ID = m.decode(c.ID)
		}
		c = Container{Pool: show(c.Pool), ID: show(c.ID)}
		if c.Pool != "" && c.ID != "" {
			return c, m
		}
	}
	return Container{}, nil
}

// awaited returns the name of the only cgroup to look for in one; "" is any. A cgroup that
// lacks just that to be a container's has the runtime's own beside it, and nothing else.
func awaited(matchers []matcher, parts []string) string {
	for i := range matchers {
		m := &matchers[i]
		if m.last != "" && m.match(len(m.parts)-2, parts, &Container{}) {
			return m.last
		}
	}
	return ""
}

// match reports whether the pattern up to a component of it matches the end of a
// path, and takes the groups.
func (m *matcher) match(last int, parts []string, c *Container) bool {
	if last < 0 {
		return !m.anchored || len(parts) == 0
	}
	part := &m.parts[last]
	if part.any {
		for n := len(parts); n >= 0; n-- {
			if m.match(last-1, parts[:n], c) {
				return true
			}
		}
		return false
	}
	if len(parts) == 0 {
		return false
	}
	name := parts[len(parts)-1]
	if !strings.HasPrefix(name, part.prefix) {
		return false
	}
	groups := part.re.FindStringSubmatch(name)
	if groups == nil || !m.match(last-1, parts[:len(parts)-1], c) {
		return false
	}
	for i, group := range part.re.SubexpNames() {
		switch group {
		case "pool":
			c.Pool = groups[i]
		case "id":
			c.ID = groups[i]
		}
	}
	return true
}

// split returns the components of a path.
func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// dashes undoes what the kubelet does to a pod's uid in the name of a slice, where
// a dash would be a level.
func dashes(id string) string { return strings.ReplaceAll(id, "_", "-") }
