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
	re     *regexp.Regexp // nil: it is the prefix
}

func compile(rules []rule) ([]matcher, error) {
	matchers := make([]matcher, 0, len(rules))
	for _, r := range rules {
		m := matcher{rule: r}
		pattern, anchored := strings.CutPrefix(r.pattern, "/")
		m.anchored = anchored
		for part := range strings.SplitSeq(pattern, "/") {
			c, err := compileComponent(part)
			if err != nil {
				return nil, fmt.Errorf("rule for %s: %w", r.name, err)
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

func compileComponent(part string) (component, error) {
	if part == "**" {
		return component{any: true}, nil
	}
	re, err := regexp.Compile(part)
	if err != nil {
		return component{}, err //nolint:wrapcheck // the caller says in which rule
	}
	prefix, whole := re.LiteralPrefix() // an anchor would hide it
	if whole {
		return component{prefix: prefix}, nil
	}
	return component{prefix: prefix, re: regexp.MustCompile(`(?s)^(?:` + part + `)$`)}, nil
}

// spares reports whether a cgroup right inside the container's, by its name, holds
// what is not in the container.
func (m *matcher) spares(name string) bool {
	return m.except != nil && m.except.MatchString(name)
}

// matchPath returns the container that a process in a cgroup is in.
func matchPath(matchers []matcher, path string) (Container, bool) {
	for rest := path; rest != ""; {
		if next := strings.IndexByte(rest[1:], '/'); next >= 0 {
			rest = rest[1+next:]
		} else {
			rest = ""
		}
		c, m := matchEnd(matchers, path[:len(path)-len(rest)])
		if m == nil {
			continue
		}
		inside, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		if rest != "" && m.spares(inside) {
			return Container{}, false
		}
		return c, true
	}
	return Container{}, false
}

// matchEnd returns the container whose cgroup is the one at the end of a path, and
// the rule that says so; nil if it is none.
func matchEnd(matchers []matcher, path string) (Container, *matcher) {
	for i := range matchers {
		m := &matchers[i]
		c := Container{Pool: m.pool}
		if !m.match(len(m.parts)-1, path, &c) {
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
func awaited(matchers []matcher, path string) string {
	for i := range matchers {
		m := &matchers[i]
		if m.last != "" && m.match(len(m.parts)-2, path, &Container{}) {
			return m.last
		}
	}
	return ""
}

// match reports whether the pattern up to a component of it matches the end of a
// path, and takes the groups.
func (m *matcher) match(last int, path string, c *Container) bool {
	if last < 0 {
		return !m.anchored || path == ""
	}
	part := &m.parts[last]
	if part.any {
		for ; ; path, _ = cutLast(path) {
			if m.match(last-1, path, c) {
				return true
			}
			if path == "" {
				return false
			}
		}
	}
	above, name := cutLast(path)
	if name == "" || !strings.HasPrefix(name, part.prefix) {
		return false
	}
	if last > 0 && m.parts[last-1].any { // it takes long to look at all that may be above
		return part.match(name, c) && m.match(last-1, above, c)
	}
	return m.match(last-1, above, c) && part.match(name, c) // it mostly says no, and is sooner done
}

// match reports whether a name of which the prefix matches does, and takes its groups.
func (part *component) match(name string, c *Container) bool {
	if part.re == nil {
		return name == part.prefix
	}
	groups := part.re.FindStringSubmatch(name)
	for i := range groups {
		switch part.re.SubexpNames()[i] {
		case "pool":
			c.Pool = groups[i]
		case "id":
			c.ID = groups[i]
		}
	}
	return groups != nil
}

// cutLast takes the last component from a path, which begins with a slash or is empty.
func cutLast(path string) (above, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", ""
	}
	return path[:i], path[i+1:]
}

// dashes undoes what the kubelet does to a pod's uid in the name of a slice, where
// a dash would be a level.
func dashes(id string) string { return strings.ReplaceAll(id, "_", "-") }
