package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVersion has make run nothing that stands in the name of a tag, or in a version given.
func TestVersion(t *testing.T) {
	for name, want := range map[string]string{
		"v1.2.3":                       "main.version=v1.2.3",
		"v1';touch${IFS}pwned;'":       "VERSION, which is the name of a tag",
		"v1$(shell${IFS}touch\u00a0x)": "VERSION, which is the name of a tag",
		"v1`touch${IFS}pwned`":         "VERSION, which is the name of a tag",
		"v1|touch${IFS}pwned|":         "VERSION, which is the name of a tag",
	} {
		dir := t.TempDir()
		for _, file := range []string{"Makefile", "go.mod", "packaging/version.sh", "packaging/dev/check-go.sh"} {
			text, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		run := func(program string, args ...string) string {
			cmd := exec.Command(program, args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "MAKEFLAGS=")
			out, _ := cmd.CombinedOutput() // which tells of an error, too
			return string(out)
		}
		identity := []string{"-c", "user.name=x", "-c", "user.email=x@x"}
		run("git", "init", "-q")
		run("git", append(identity, "commit", "-q", "--allow-empty", "-m", "x")...)
		run("git", append(identity, "tag", "-a", "-m", "x", name)...)
		if tagged := run("git", "describe", "--tags"); tagged != name+"\n" {
			t.Fatalf("the tag is %q, not %q", tagged, name)
		}
		for _, args := range [][]string{{"build", "GO=echo go1.99"}, {"-n", "deb", "GO=true"}} {
			if out := run("make", args...); !strings.Contains(out, want) {
				t.Errorf("%s: make %v: %s", name, args, out)
			}
		}
		run("packaging/version.sh", name)
		if files, err := os.ReadDir(dir); err != nil || len(files) != 4 { // with .git
			t.Errorf("%s: there are now %v, %v", name, files, err)
		}
	}
	for _, given := range []string{"1 -extld=x", "1\n2", "", "1'"} {
		cmd := exec.Command("make", "-n", "-C", "..", "build", "VERSION="+given)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("VERSION=%q: %v, %s", given, err, out)
		}
	}
}

// TestCheckGo says which Go is needed before anything is compiled.
func TestCheckGo(t *testing.T) {
	for goCommand, want := range map[string]string{
		"echo go version go1.26.0 linux/amd64": "",
		"echo go version go1.100 linux/amd64":  "",
		"echo go version go1.19.8 linux/amd64": "needs Go 1.26 or newer, found 1.19.8; get it from https://go.dev/dl/",
		"echo go version go1.3 linux/amd64":    "found 1.3;",
		"no-such-go":                           "found none;",
	} {
		out, err := exec.Command("dev/check-go.sh", goCommand).CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %s", goCommand, err, out)
		}
	}
}
