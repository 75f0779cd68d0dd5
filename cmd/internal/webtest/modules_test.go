package webtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestModules runs the tests of the JavaScript modules that need no browser. Node needs package.json to
// treat the files as modules.
func TestModules(t *testing.T) {
	dir := t.TempDir()
	for _, part := range []string{"page", "test"} {
		must(t, os.CopyFS(filepath.Join(dir, part), os.DirFS("../../../packaging/cockpit/"+part)))
	}
	must(t, os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type": "module"}`), 0o600))
	cmd := exec.Command("node", "--test", "test/")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
