package bridge

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
)

// TestLateEngine wants what happened before the engine's socket was found to be told, because the
// bridge ran by then.
func TestLateEngine(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	e.stop()
	apitest.Eventually(t, "the socket is gone", func() bool { _, err := os.Stat(e.socket); return os.IsNotExist(err) })
	b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	b.wantStatus(t, "docker: not there")
	e.happen("create", idOf("4f5e"), 0, "name", "web")
	e.happen("die", idOf("4f5e"), 0, "name", "web", "exitCode", "3")
	e.start(t)
	d.want(t, "db docker:4f5e action=add ct_name=web", "ct_exit docker:4f5e exit_type=exit exit_code=3 ct_name=web")
}

// TestAdvance wants the position to move on while nothing happens, but never back.
func TestAdvance(t *testing.T) {
	now := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	s := session{position: positionOf(t.TempDir(), "docker"), handled: now.Add(-time.Hour)}
	for _, step := range []struct{ now, want time.Time }{
		{now, now.Add(-overlap)},
		{now.Add(-time.Minute), now.Add(-overlap)},
		{now.Add(time.Minute), now.Add(time.Minute - overlap)},
	} {
		if err := s.advance(step.now); err != nil {
			t.Fatal(err)
		}
		next := session{position: s.position}
		if _, err := next.begin(); err != nil || !next.handled.Equal(step.want) {
			t.Errorf("at %v the next session begins at %v, %v, want %v", step.now, next.handled, err, step.want)
		}
	}
}

// TestNoPosition wants a file without a time to be as none: the session begins with the bridge.
func TestNoPosition(t *testing.T) {
	for _, text := range []string{"", "soon", "-1", "99999999999999999", "1000000000000000000000000000000000000000"} {
		first := time.Now().Add(-time.Minute).Truncate(time.Microsecond)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "docker.position"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := session{position: positionOf(dir, "docker"), first: first}
		since, err := s.begin()
		if saved, _ := s.position.load(); err != nil || !since.Equal(first) || !saved.Equal(first) {
			t.Errorf("%q: it begins at %v, %v, the file says %v, want %v", text, since, err, saved, first)
		}
	}
}
