package boottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	s.run("rpm", "--install", "--nodeps", s.buildRPM(firstVersion, ""))
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
	s.run("rpm", "--upgrade", "--nodeps", s.buildRPM(secondVersion, "FAST=1"))
	s.awaitRestart(pid)
	if out := s.run("osctl-eventctl", "status"); !strings.Contains(out, secondVersion) {
		t.Errorf("after the upgrade runs\n%s", out)
	}
	s.shell(prepareUnits + enableAll)
	s.run("rpm", "--erase", "osctl-eventd")
	s.shell(noUnitsLeft)
	if got := s.show("ActiveState") + s.show("UnitFileState"); got != "inactive" {
		t.Errorf("after the removal the unit is %s", got)
	}

	s.run("dpkg", "--install", s.copyIn(deb(t, firstVersion)))
	if inDeb := files(s.run("dpkg", "--listfiles", "osctl-eventd")); !slices.Equal(inDeb, inRPM) {
		t.Errorf("the packages differ:\n%s", difference(strings.Join(inDeb, "\n"), strings.Join(inRPM, "\n")))
	}
}

// buildRPM builds the package for rpm in the system, which has rpmbuild, with a variable more,
// and returns where it is there.
func (s *system) buildRPM(version, variable string) string {
	s.t.Helper()
	s.shell(variable + " ARCH=" + runtime.GOARCH + " DIST=/mnt/rpms " + s.copySource(version) + "/packaging/package.sh rpm " + version)
	found, err := filepath.Glob(filepath.Join(s.Shared(), "rpms", "osctl-eventd-"+version+"-*.rpm"))
	if err != nil || len(found) != 1 {
		s.t.Fatalf("packages for rpm: %q, %v", found, err)
	}
	return "/mnt/rpms/" + filepath.Base(found[0])
}

// copySource copies what is installed, and the scripts for it, to the system, and returns
// where it is there.
func (s *system) copySource(version string) string {
	s.t.Helper()
	source := "source-" + version
	tree := filepath.Join(s.Shared(), source)
	for from, to := range map[string]string{"..": "packaging", "../../systemd": "systemd", binaries(version): "bin"} {
		must(s.t, os.CopyFS(filepath.Join(tree, to), os.DirFS(from)))
	}
	for _, file := range []string{"README.md", "CHANGELOG.md", "LICENSE", ".github/SECURITY.md", "cmd/osctl-eventctl/live.svg"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		must(s.t, err)
		must(s.t, os.MkdirAll(filepath.Dir(filepath.Join(tree, file)), 0o755))
		must(s.t, os.WriteFile(filepath.Join(tree, file), text, 0o600))
	}
	return "/mnt/" + source
}

// TestSameBytes wants the same package of the same programs, whenever it is made, and the same
// files in one without compression, as the other tests install it. Small programs will do.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for _, program := range []string{"osctl-eventd", "osctl-eventctl", "osctl-eventd-runtimes"} {
		must(t, os.WriteFile(filepath.Join(bin, program), []byte(program), 0o755))
	}
	var made []string
	for _, fast := range []string{"", "", "1"} {
		dist := t.TempDir()
		cmd := exec.Command("../package.sh", "deb", firstVersion)
		cmd.Env = append(os.Environ(), "BIN="+bin, "NATIVE="+binaries(firstVersion), "DIST="+dist, "FAST="+fast, sourceDate)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		made = append(made, filepath.Join(dist, filepath.Base(deb(t, firstVersion))))
	}
	const compare = `cmp "$1" "$2"; dpkg-deb --fsys-tarfile "$1" >"$1.tar"; dpkg-deb --fsys-tarfile "$3" | cmp "$1.tar"`
	if out, err := exec.Command("sh", append([]string{"-ec", compare, "sh"}, made...)...).CombinedOutput(); err != nil {
		t.Errorf("packages of the same programs differ: %v\n%s", err, out)
	}
}

// TestTarball extracts the tarballs where /usr/sbin is a link, which must stay, and wants all files there.
func TestTarball(t *testing.T) {
	t.Parallel()
	root, dist := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755))
	must(t, os.Symlink("bin", filepath.Join(root, "usr/sbin")))
	for _, name := range []string{"osctl-eventd", "osctl-eventd-nats"} {
		const extract = `../package.sh tar "$1" "$2"; tar -C "$3" -xzf "$DIST/$2-$1-"*.tar.gz`
		cmd := exec.Command("sh", "-ec", extract, "sh", firstVersion, name, root)
		cmd.Env = append(os.Environ(), "BIN="+binaries(firstVersion), "DIST="+dist, sourceDate)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	for file, want := range map[string]os.FileMode{
		"usr/sbin": os.ModeSymlink | 0o777, "usr/bin/osctl-eventd": 0o755, "usr/bin/osctl-eventd-nats": 0o755,
		"usr/lib/systemd/system/" + unit: 0o644, "etc/osctl-eventd-nats": os.ModeDir | 0o700, "etc/osctl-eventd-nats/env": 0o600,
	} {
		if info, err := os.Lstat(filepath.Join(root, file)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want %v", file, err, want)
		}
	}
}

// TestInstallTarget wants `make uninstall` to remove what `make install` installed.
func TestInstallTarget(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, action := range []string{"install", "uninstall"} {
		cmd := exec.Command("../install.sh", action)
		cmd.Env = append(os.Environ(), "BIN="+binaries(firstVersion), "DESTDIR="+root, "PREFIX=/opt/eventd")
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
// is to be done then, and all its units to be stopped before `make uninstall` removes it.
func TestInstallByHand(t *testing.T) {
	eachKind(t, func(t *testing.T, kind bustest.Kind) {
		s := boot(t, kind)
		install := "PREFIX=/usr/local " + s.copySource(firstVersion) + "/packaging/install.sh "
		s.shell(install + "install; systemd-sysusers; systemctl daemon-reload; systemctl reload dbus; systemctl enable --now osctl-eventd")
		s.run("osctl-eventctl", "report", "probe", "id=101")
		s.shell(prepareUnits + enableAll)
		s.shell(install + "uninstall")
		if got := s.show("ActiveState") + s.show("LoadState"); got != "inactivenot-found" {
			t.Errorf("after the removal the unit is %s", got)
		}
		s.shell(noUnitsLeft)
	})
}
