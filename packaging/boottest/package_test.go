package boottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// TestRPM wants the other package to have the same files and to work with systemd, as
// far as Debian's rpm(8) can tell.
func TestRPM(t *testing.T) {
	t.Parallel()
	s := boot(t, bustest.Daemon)
	s.run("rpm", "--install", "--nodeps", s.copyIn(rpm(t, firstVersion)))
	files := func(list string) []string {
		list = strings.ReplaceAll(list, "/usr/lib/systemd/system/", "/lib/systemd/system/")
		all := slices.DeleteFunc(strings.Fields(list), func(file string) bool {
			info, err := os.Stat(s.Path(file))
			base := filepath.Base(file)
			return err == nil && info.IsDir() || base == "LICENSE" || base == "copyright" || base == "changelog.Debian.gz" ||
				strings.HasPrefix(file, "/usr/share/lintian/")
		})
		slices.Sort(all)
		return all
	}
	inRPM := files(s.run("rpm", "--query", "--list", "osctl-eventd"))
	if got := s.show("UnitFileState"); got != "enabled" {
		t.Errorf("the unit is %s, where the preset is to enable all", got)
	}
	s.run("systemctl", "start", unit)
	pid := s.show("MainPID")
	s.run("rpm", "--upgrade", "--nodeps", s.copyIn(rpm(t, secondVersion)))
	s.awaitRestart(pid)
	if out := s.run("osctl-eventctl", "status"); !strings.Contains(out, secondVersion) {
		t.Errorf("after the upgrade runs\n%s", out)
	}
	s.run("rpm", "--erase", "osctl-eventd")
	if got := s.show("ActiveState") + s.show("UnitFileState"); got != "inactive" {
		t.Errorf("after the removal the unit is %s", got)
	}

	s.run("dpkg", "--install", s.copyIn(deb(t, firstVersion)))
	if inDeb := files(s.run("dpkg", "--listfiles", "osctl-eventd")); !slices.Equal(inDeb, inRPM) {
		t.Errorf("the packages differ:\n%s", difference(strings.Join(inDeb, "\n"), strings.Join(inRPM, "\n")))
	}
}

// TestInstallTarget wants `make uninstall` to remove what `make install` installed.
func TestInstallTarget(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, action := range []string{"install", "uninstall"} {
		cmd := exec.Command("../install.sh", action)
		cmd.Env = append(os.Environ(), "BIN="+filepath.Join(packages, firstVersion), "DESTDIR="+root, "PREFIX=/opt/eventd")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", action, err, out)
		}
		var files []string
		must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files = append(files, path)
			}
			return err
		}))
		if action == "install" {
			unitFile, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system", unit))
			must(t, err)
			if !strings.Contains(string(unitFile), "\nExecStart=/opt/eventd/sbin/osctl-eventd\n") {
				t.Errorf("the unit does not start what was installed:\n%s", unitFile)
			}
		}
		if want := action == "install"; (len(files) > 10) != want || !want && len(files) > 0 {
			t.Errorf("after %s there are %q", action, files)
		}
	}
}

// TestInstallByHand wants what `make install` installs to work, after what README.md says
// is to be done then.
func TestInstallByHand(t *testing.T) {
	eachKind(t, func(t *testing.T, kind bustest.Kind) {
		s := boot(t, kind)
		cmd := exec.Command("../install.sh", "install")
		cmd.Env = append(os.Environ(), "BIN="+filepath.Join(packages, firstVersion), "DESTDIR="+filepath.Join(s.Shared(), "tree"), "PREFIX=/usr/local")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.shell("cp -r /mnt/tree/. /; systemd-sysusers; systemctl daemon-reload; systemctl reload dbus; systemctl enable --now osctl-eventd")
		s.run("osctl-eventctl", "report", "probe", "id=101")
	})
}
