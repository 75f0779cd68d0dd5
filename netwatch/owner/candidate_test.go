package owner

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLeft has a process leave a cgroup after it was seen there, on each hierarchy.
func TestLeft(t *testing.T) {
	mounts, err := readMounts("/proc/self/mountinfo")
	must(t, err)
	seen := 0
	for _, option := range append([]string{"v2"}, v1Lines...) { // without v1 there is v2 alone
		m := best(mounts, func(m *mount) bool { return m.v2 && option == "v2" || !m.v2 && slices.Contains(m.options, option) })
		if m == nil {
			continue
		}
		seen++
		root := cgroupIn(t, m.dir)
		inside := filepath.Join(root, "lxc.payload.a")
		must(t, os.Mkdir(inside, 0o755))
		s := sleeper{exec.Command("sleep", "300")}
		must(t, s.Start())
		t.Cleanup(s.stop)
		move := func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(s.pid())), 0o644))
		}
		move(inside)
		r := &reader{proc: "/proc", fault: func(err error) { t.Error(err) }}
		defer r.closeProcs()
		if pids, _ := r.pids(place{path: inside}, 1); !slices.Equal(pids, []int{s.pid()}) || !r.isIn(s.pid(), place{path: inside}) {
			t.Errorf("%s: processes %v, want %d", option, pids, s.pid())
		}
		move(root)
		if r.isIn(s.pid(), place{path: inside}) {
			t.Errorf("%s: a process that left is still seen", option)
		}
	}
	if seen == 0 {
		t.Error("no hierarchy is mounted")
	}
}

// TestFirstProcesses reads lists of processes of all lengths.
func TestFirstProcesses(t *testing.T) {
	long := strings.Repeat("4194303\n", 20)
	for _, test := range []struct {
		text string
		init int // which of them is the init; 0 is none
		want []int
	}{
		{text: ""},
		{text: "0\n0\n"},
		{text: "7\n", want: []int{7}},
		{text: "5\n9\n", want: []int{5, 9}},
		{text: "5\n9\n", init: 9, want: []int{9}},
		{text: "5\n9\n", init: 5, want: []int{5}},
		{text: "0\n0\n9\n", want: []int{9}},
		{text: "0\n0\n0\n0\n9\n", want: []int{9}},
		{text: "100\n101\n", init: 101, want: []int{101}},
		{text: "99\n100\n", init: 100, want: []int{100}},
		{text: "4194301\n", want: []int{4194301}},
		{text: "4194301\n4194302\n", want: []int{4194301, 4194302}},
		{text: "4194301\n4194302\n", init: 4194302, want: []int{4194302}},
		{text: "1\n2\n3\n4\n5\n6\n7\n8\n9\n", init: 9, want: []int{1, 2, 3, 4, 5, 6, 7, 8}},
		{text: "1\n2\n3\n4\n5\n6\n7\n8\n9\n", init: 8, want: []int{8}},
		{text: "100000\n100001\n100002\n", want: []int{100000, 100001, 100002}},
		{text: "31\n" + long, init: 31, want: []int{31}},
		{text: long, want: slices.Repeat([]int{4194303}, maxPerDir)},
	} {
		h := newHost(t)
		h.cgroup("/a")
		if test.init != 0 {
			h.init(test.init, "/b", 1)
		}
		dir := h.dir("cgroup", "a")
		must(t, os.WriteFile(dir+"/cgroup.procs", []byte(test.text), 0o644))
		r := &reader{proc: h.dir("proc"), kernel: h, fault: func(err error) { t.Error(err) }}
		var got []int
		for _, c := range r.processes(place{path: dir}) {
			got = append(got, c.pid)
			if !r.isIn(c.pid, place{path: dir}) {
				t.Errorf("of %q, %d is not in", test.text, c.pid)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("of %q, with init %d: %v, want %v", test.text, test.init, got, test.want)
		}
		if r.isIn(6000000, place{path: dir}) {
			t.Errorf("of %q, another one is in", test.text)
		}
		r.release()
	}
}
