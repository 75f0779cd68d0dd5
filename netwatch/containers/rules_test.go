package containers

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func compiled(t testing.TB) []matcher {
	t.Helper()
	m, err := compile(rules())
	must(t, err)
	return m
}

const (
	testID  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	testUID = "12345678-9abc-def0-1234-56789abcdef0"
	slUID   = "12345678_9abc_def0_1234_56789abcdef0"
)

// matchPath returns the container of a process in the cgroup path.
func matchPath(matchers []matcher, path string) (Container, bool) {
	above := ""
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, name := range parts {
		if c, m := match(matchers, above, name); m != nil {
			if m.beside != nil && i+1 < len(parts) && m.beside.MatchString(parts[i+1]) {
				return Container{}, false
			}
			return c, true
		}
		above += "/" + name
	}
	return Container{}, false
}

// TestExamples expects each rule to match its example, in the table and alone.
func TestExamples(t *testing.T) {
	all := rules()
	for i, r := range all {
		t.Run(r.name, func(t *testing.T) {
			if c, ok := matchPath(compiled(t), r.example); !ok || c != r.is {
				t.Errorf("%s: %v, %v, want %v", r.example, c, ok, r.is)
			}
			one, err := compile(all[i : i+1])
			must(t, err)
			if c, ok := matchPath(one, r.example); !ok || c != r.is {
				t.Errorf("by this rule alone %s: %v, %v, want %v", r.example, c, ok, r.is)
			}
		})
	}
}

func TestMatchPath(t *testing.T) {
	pod := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + slUID + ".slice"
	for _, c := range []struct{ path, pool, id string }{
		// osctl
		{"/osctl/pool.tank/group.default/user.1/ct.100/user-owned", "tank", "100"},
		{"/osctl/pool.tank/group.a/group.b/user.x/ct.my.ct/user-owned/lxc.payload.my.ct/init.scope", "tank", "my.ct"},
		{"/osctl/pool.p-1/ct.2/user-owned/x", "p-1", "2"},
		{"/osctl/pool.tank/group.default/user.1/ct.100", "", ""},
		{"/osctl/pool.tank/group.default/user.1/ct.100/lxc.monitor.100", "", ""},
		{"/osctl/pool.tank/group.default/user.1/ct.100/lxc.pivot", "", ""},
		{"/osctl/pool.tank/group.default/user.1", "", ""},
		{"/osctl/pool./ct.1/user-owned", "", ""},
		{"/x/osctl/pool.tank/ct.1/user-owned", "", ""}, // not at the root
		{"/osctl/pool.tank/ct.1/user-owned/lxc.payload.1/osctl/pool.inner/ct.2/user-owned", "tank", "1"},
		// LXC, Incus
		{"/lxc.payload.ct1", "lxc", "ct1"},
		{"/init/lxc.payload.ct1", "lxc", "ct1"},
		{"/x/init/lxc.payload.ct1", "", ""},
		{"/user.slice/lxc.payload.project_web", "lxc", "project_web"},
		{"/lxc.payload.ct1/system.slice/docker-" + testID + ".scope", "lxc", "ct1"},
		{"/lxc.payload.ct1/docker/" + testID, "lxc", "ct1"},
		{"/lxc.payload.outer/lxc.payload.inner", "lxc", "outer"},
		{"/lxc.payload.ct1/osctl/pool.tank/ct.1/user-owned", "lxc", "ct1"},
		{"/lxc.payload.", "", ""},
		{"/lxc.monitor.ct1", "", ""},
		{"/lxc.pivot", "", ""},
		{"/xlxc.payload.ct1", "", ""},
		// systemd-nspawn
		{"/machine.slice/machine-bb.scope", "machine", "bb"},
		{`/machine.slice/machine-a\x2db\x2dc.scope/payload/init.scope`, "machine", "a-b-c"},
		{"/machine.slice/machine-bb.scope/supervisor", "", ""},
		{"/machine.slice/machine-bb.scope/payload/supervisor", "machine", "bb"},
		{"/machine.slice/systemd-nspawn@bb.service/payload", "machine", "bb"},
		{"/machine.slice/systemd-nspawn@bb.service/supervisor", "", ""},
		{`/machine.slice/systemd-nspawn@a\x2db.service`, "machine", "a-b"},
		{"/machine.slice/systemd-nspawn@.service", "", ""},
		{"/machine.slice/machine-x.slice", "", ""},
		{"/machine.slice/machine.scope", "", ""},
		{`/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt`, "machine", "qemu-1-vm"},
		// podman
		{"/libpod_parent/libpod-" + testID, "podman", testID},
		{"/libpod_parent/libpod-conmon-" + testID, "", ""},
		{"/machine.slice/libpod-" + testID + ".scope", "podman", testID},
		{"/machine.slice/libpod-" + testID + ".scope/container", "podman", testID},
		{"/machine.slice/libpod-conmon-" + testID + ".scope", "", ""},
		{"/machine.slice/machine-libpod_pod_" + testID + ".slice/libpod-" + testID + ".scope", "podman", testID},
		{"/system.slice/web.service/libpod-payload-" + testID, "podman", testID},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + testID + ".scope", "podman", testID},
		{"/libpod_parent/libpod-" + testID[:12], "podman", testID[:12]},
		{"/libpod_parent/libpod-pause", "", ""},
		// docker
		{"/docker/" + testID, "docker", testID},
		{"/docker/" + testID + "/init.scope", "docker", testID},
		{"/system.slice/docker-" + testID + ".scope", "docker", testID},
		{"/docker", "", ""},
		{"/docker/buildx", "", ""},
		{"/system.slice/docker.service", "", ""},
		{"/" + testID, "", ""},
		{"/docker/" + testID + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + slUID + ".slice", "docker", testID},
		// Kubernetes
		{pod + "/cri-containerd-" + testID + ".scope", "k8s", testUID},
		{pod + "/crio-" + testID + ".scope", "k8s", testUID},
		{pod + "/crio-conmon-" + testID + ".scope", "", ""},
		{pod + "/docker-" + testID + ".scope", "k8s", testUID},
		{"/kubepods.slice/kubepods-pod" + slUID + ".slice/cri-containerd-" + testID + ".scope", "k8s", testUID},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + slUID + ".slice/crio-" + testID + ".scope/container", "k8s", testUID},
		{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + slUID + ".slice/cri-containerd-" + testID + ".scope", "k8s", testUID},
		{"/kubepods.slice/kubepods-pod" + testID[:32] + ".slice/x", "k8s", testID[:32]}, // a static pod
		{"/kubepods/besteffort/pod" + testUID + "/" + testID, "k8s", testUID},
		{"/kubepods/pod" + testUID + "/" + testID, "k8s", testUID},
		{"/kubepods/burstable/pod" + testUID + "/crio-conmon-" + testID, "", ""},
		{"/system.slice/k3s.service/kubepods/burstable/pod" + testUID + "/" + testID, "k8s", testUID},
		{"/kubepods.slice/kubepods-besteffort.slice", "", ""},
		{"/kubepods/podman", "", ""},
		{"/pod" + testUID, "", ""},
		{"/system.slice/containerd.service/kubepods-pod" + slUID + ".slice:cri-containerd:" + testID, "k8s", testUID},
		// none
		{"", "", ""},
		{"/", "", ""},
		{"/init.scope", "", ""},
		// below a cgroup that may be a container of a runtime that the table does not know
		{"/lxc/101/ns/lxc.payload.web", "lxc", "101"},
		{"/default/f00/machine-web.scope", "", ""},
		{"/default/f00/docker/" + testID, "", ""},
		{"/system.slice/some.service/libpod-" + testID, "", ""},
		{"/system.slice/some.service/machine-web.scope", "", ""},
		{"/" + testID + "/lxc.payload.web", "", ""},
		{"/user.slice/user-1000.slice/session-1.scope", "", ""},
		// text
		{"/lxc.payload.a\xff\x01b", "lxc", `a\xff\x01b`},
		{"/lxc.payload.Käse", "lxc", "Käse"},
		{`/machine-a\x00b.scope`, "machine", `a\x00b`},
		// further runtimes
		{"/lxc/101/ns", "lxc", "101"},
		{"/lxc.monitor/101", "", ""},
		{"/machine.slice/container@web.service", "machine", "web"},
		{"/machine.slice/container@web.service/supervisor", "", ""},
		{"/ecs/task/" + testID, "docker", testID},
		{"/system.slice/nerdctl-" + testID + ".scope", "nerdctl", testID},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/lxc-web.scope/lxc.payload.web", "lxc", "web"},
		{"/lxc.payload." + strings.Repeat("x", 300), "lxc", strings.Repeat("x", 255)},
		{"/lxc.payload.a\nb", "lxc", `a\x0ab`},
	} {
		got, ok := matchPath(compiled(t), c.path)
		if want := (Container{c.pool, c.id}); got != want || ok != (c.pool != "") {
			t.Errorf("%q: %q, %v, want %q", c.path, got, ok, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", `a\x2db`: "a-b", `\x41\x42`: "AB", `a\x2`: `a\x2`, `\xzz`: `\xzz`, `\\x2d`: `\-`, `a-b`: "a-b", `\x`: `\x`,
	} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, r := range rules() {
		f.Add(r.example)
	}
	f.Add("/lxc.payload.\xff\x00\u202e" + strings.Repeat("ä", 200))
	f.Add(`/machine-\x00\x.scope/**/`)
	matchers := compiled(f)
	f.Fuzz(func(t *testing.T, path string) {
		path = strings.ReplaceAll(path, "\x00", "")
		c, ok := matchPath(matchers, path)
		if !ok {
			return
		}
		for _, s := range []string{c.Pool, c.ID} {
			if s == "" || len(s) > maxText || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				t.Errorf("%q: bad text %q", path, s)
			}
		}
		// Cgroups further down do not matter.
		if deeper, _ := matchPath(matchers, path+"/x/lxc.payload.y"); deeper != c {
			t.Errorf("%q belongs to %q, but a cgroup below it to %q", path, c, deeper)
		}
	})
}
