package eventlog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzSegment opens a log with any bytes as segment and head. The hub must start, and store further
// events. The log has the layout of earlier versions.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	o := open(f, config(dir))
	o.fill(f, 3)
	o.kill()
	segment, err := os.ReadFile(segments(f, dir)[0])
	must(f, err)
	head, err := os.ReadFile(headPath(f, dir))
	must(f, err)
	f.Add(segment, head)
	f.Add(segment[:len(segment)-5], head)
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, segment, head []byte) {
		dir := filepath.Join(inMemory(t), "state")
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "0000000000000001.seg"), segment, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "head"), head, 0o600))
		o := open(t, config(dir))
		o.fill(t, 1)
		want := o.Status()
		if !want.Durable {
			t.Fatalf("status is %+v; logged: %s", want, o.logged)
		}
		o.kill()
		o = open(t, config(dir))
		if got := o.Status(); got != want && !strings.Contains(o.logged.String(), "new epoch") {
			t.Errorf("status is %+v, was %+v", got, want)
		}
		o.kill()
	})
}
