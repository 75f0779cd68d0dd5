package containers

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestFindHierarchies(t *testing.T) {
	v2 := "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	for _, c := range []struct{ name, mounts, want string }{
		{"v2", v2, "/sys/fs/cgroup|true"},
		{"a long line first", "9 9 0:9 /" + strings.Repeat("a", 1<<16) + " /mnt rw - ext4 none rw\n" + v2, "/sys/fs/cgroup|true"},
		{"v2 twice, a part first", "9 9 0:26 /a /mnt\\040x rw - cgroup2 none rw\n" + v2, "/sys/fs/cgroup|true"},
		{"a part alone", "9 9 0:26 /a /mnt\\040x rw - cgroup2 none rw\n", "/mnt x|true"},
		{
			"hybrid", "1 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"2 1 0:2 / /sys/fs/cgroup/systemd rw shared:5 master:3 - cgroup cgroup rw,xattr,name=systemd\n" +
				"3 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"/sys/fs/cgroup/unified|true /sys/fs/cgroup/systemd|false",
		},
		{"v1", "1 1 0:1 / /sys/fs/cgroup/pids rw - cgroup c rw,pids\n1 1 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup c rw,cpu,cpuacct\n", "/sys/fs/cgroup/cpu,cpuacct|false"},
		{"none", "1 1 0:1 / /sys rw - sysfs s rw\nnonsense\n", "error"},
	} {
		proc := t.TempDir()
		must(t, os.Mkdir(proc+"/self", 0o755))
		must(t, os.WriteFile(proc+"/self/mountinfo", []byte(c.mounts), 0o644))
		found, err := findHierarchies(proc, "")
		var got []string
		for _, h := range found {
			got = append(got, fmt.Sprintf("%s|%v", h.dir, h.v2))
		}
		if err != nil {
			got = []string{"error"}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}
