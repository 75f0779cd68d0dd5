package bridge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/apitest"
)

// TestLateEngine checks that the bridge reports the events since its start, although the engine's socket came
// later.
func TestLateEngine(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	e.stop()
	apitest.Eventually(t, "the socket is gone", func() bool { _, err := os.Stat(e.socket); return os.IsNotExist(err) })
	b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	b.wantStatus(t, "docker: not there")
	e.emit("create", idOf("4f5e"), 0, "name", "web")
	e.emit("die", idOf("4f5e"), 0, "name", "web", "exitCode", "3")
	e.start(t)
	d.want(t, "db docker:4f5e action=add ct_name=web", "ct_exit docker:4f5e exit_type=exit exit_code=3 ct_name=web")
}

// TestAdvance checks that the position advances, and never goes back.
func TestAdvance(t *testing.T) {
	now := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	s := session{position: newPosition(t.TempDir(), "docker"), handled: now.Add(-time.Hour)}
	for _, step := range []struct{ to, want time.Time }{
		{now, now},
		{now.Add(-time.Minute), now},
		{now.Add(time.Minute), now.Add(time.Minute)},
	} {
		s.movePosition(step.to)
		next := session{position: s.position}
		if next.loadPosition(); !next.handled.Equal(step.want) {
			t.Errorf("after %v the next session begins at %v, want %v", step.to, next.handled, step.want)
		}
	}
}

// TestNoPosition checks that a session without a valid position asks for events since the start of the bridge.
func TestNoPosition(t *testing.T) {
	for _, text := range []string{"", "soon", "-1", "99999999999999999", "1000000000000000000000000000000000000000"} {
		first := time.Now().Add(-time.Minute).Truncate(time.Microsecond)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "docker.position"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := session{loop: &loop{bridgeStart: first}, position: newPosition(dir, "docker")}
		since := s.loadPosition()
		if saved, err := s.position.load(); err != nil || !since.Equal(first) || !saved.Equal(first) {
			t.Errorf("%q: it begins at %v, the file says %v, %v, want %v", text, since, saved, err, first)
		}
	}
}

// TestClockSetBack has a session and a bridge that began in an hour by the present clock. It expects new names to
// be reported, and the next session to ask for events from now on.
func TestClockSetBack(t *testing.T) {
	now := time.Now().Round(0)
	s := session{
		loop: &loop{bridgeStart: now.Add(time.Hour)}, position: newPosition(t.TempDir(), "docker"), sessionStart: now.Add(time.Hour),
		listed: map[string]bool{}, reported: &reported{infos: map[string]info{}},
	}
	m := events.Message{TimeNano: now.UnixNano(), Actor: events.Actor{Attributes: map[string]string{"name": "web"}}}
	if got := s.updateInfo(idOf("4f5e"), &m); got == nil {
		t.Error("the name is not reported")
	}
	if since := s.loadPosition(); since.After(time.Now()) {
		t.Errorf("the next session begins at %v, after now", since)
	}
}

// TestPositionInFuture has a session whose position is an hour ahead of a clock that was set back. It expects the
// position to follow the events again, and without events the clock.
func TestPositionInFuture(t *testing.T) {
	now := time.Now().Truncate(time.Microsecond)
	for name, test := range map[string]struct {
		advance func(*session)
		want    time.Time
	}{
		"event":      {func(s *session) { s.movePosition(now.Add(-time.Second)) }, now.Add(-time.Second)},
		"old future": {func(s *session) { s.movePosition(now.Add(time.Hour - time.Second)) }, now.Add(time.Hour)},
		"no event":   {func(s *session) { s.movePosition(now.Add(-overlap)) }, now.Add(-overlap)},
	} {
		ahead := now.Add(time.Hour)
		s := session{position: newPosition(t.TempDir(), "docker"), handled: ahead, saved: ahead}
		if err := s.position.save(ahead); err != nil {
			t.Fatal(err)
		}
		test.advance(&s)
		if saved, err := s.position.load(); err != nil || !saved.Equal(test.want) {
			t.Errorf("%s: the position is %v, %v, want %v", name, saved, err, test.want)
		}
	}
}

// TestPositionCannotBeKept checks that the bridge follows an engine although it cannot save the position.
func TestPositionCannotBeKept(t *testing.T) {
	for name, dir := range map[string]string{"no directory": "/dev/null", "the file is a directory": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			if err := os.Mkdir(filepath.Join(dir, "docker.position"), 0o700); err != nil && dir != "/dev/null" {
				t.Fatal(err)
			}
			d, e := startEventd(t), startEngine(t)
			b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: dir})
			b.wantStatus(t, "docker: 0 containers")
			e.emit("die", idOf("4f5e"), 0, "name", "web", "exitCode", "3")
			e.emit("die", idOf("4f5e"), -overlap/2-time.Second, "name", "web", "exitCode", "4")
			d.want(t, "ct_exit docker:4f5e exit_type=exit exit_code=3 ct_name=web", "ct_exit docker:4f5e exit_type=exit exit_code=4 ct_name=web")
			if _, log := b.output(); strings.Count(log, "the position cannot be kept") != 1 {
				t.Errorf("logged: %s", log)
			}
		})
	}
}
