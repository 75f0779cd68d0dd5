package eventlog_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/osctl/eventd/hub"
)

// addLink commits a change of the view without an event.
func (o *testHub) addLink(tb testing.TB, ifindex uint32) {
	tb.Helper()
	row := hub.Interface{Ifindex: ifindex, Veth: "veth", State: hub.LinkUp}
	_, err := o.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: row}}})
	must(tb, err)
}

// A lost change of the views begins another epoch, too.
func TestLostViewChangeBeginsEpoch(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, newest string, size int64){
		"the end of the newest segment": func(t *testing.T, newest string, size int64) { must(t, os.Truncate(newest, size)) },
		"the newest segment":            func(t *testing.T, newest string, _ int64) { must(t, os.Remove(newest)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t.TempDir())
			c.MaxEvents = 1024
			o := open(t, c)
			o.fill(t, 256) // a segment, and the snapshot of the next one
			newest := segments(t, c.Dir)[1]
			info, err := os.Stat(newest)
			must(t, err)
			o.addLink(t, 3)
			epoch := o.Status().Epoch
			o.kill()
			spoil(t, newest, info.Size())
			o = open(t, c)
			if got := o.Status(); got.Epoch == epoch || got.Last != 256 || got.Interfaces != 0 || !got.Durable {
				t.Errorf("status is %+v, the epoch was %s", got, epoch)
			}
			if !strings.Contains(o.logged.String(), "the end of the log is missing") {
				t.Errorf("logged: %s", o.logged)
			}
		})
	}
}

// A dropped segment that cannot be removed is logged, and is not part of the log.
func TestSegmentThatCannotBeRemoved(t *testing.T) {
	c := config(t.TempDir())
	c.MaxEvents = 512
	o := open(t, c)
	stuck := segments(t, c.Dir)[0]
	must(t, os.Remove(stuck))
	must(t, os.MkdirAll(filepath.Join(stuck, "full"), 0o700))
	o.fill(t, 1000)
	if n := strings.Count(o.logged.String(), "cannot be removed"); n != 1 {
		t.Errorf("logged %d times: %s", n, o.logged)
	}
	want, status := o.texts(t), o.Status()
	o.kill()
	o = open(t, c)
	if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status {
		t.Errorf("restored %d events, want %d; status is %+v", len(got), len(want), o.Status())
	}
}

// Segments that were not readable at the start are set aside, even if older ones were readable.
func TestSegmentsWithoutPermissionAreSetAside(t *testing.T) {
	synctest.Test(t, segmentsWithoutPermissionAreSetAside)
}

func segmentsWithoutPermissionAreSetAside(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 600)
	o.kill()
	paths := segments(t, c.Dir)
	kept := map[string][]byte{}
	for _, path := range paths[1:] {
		content, err := os.ReadFile(path)
		must(t, err)
		kept[filepath.Base(path)] = content
	}
	const nobody = 65534
	for _, path := range []string{c.Dir, logDir(t, c.Dir), headPath(t, c.Dir), paths[0]} {
		must(t, os.Chown(path, nobody, nobody))
	}
	for dir := c.Dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o711))
	}
	o = openLoading(t, c, nil, func(load func()) { asNobody(t, load) })
	if got := o.Status(); got.Durable || got.Last != 256 || !strings.Contains(got.LogProblem, "permission denied") {
		t.Fatalf("status is %+v", got)
	}
	o.fill(t, 5)
	o.run()
	eventually(t, "the log is written", func() bool { return o.Status().Durable })
	for name, want := range kept {
		got, err := os.ReadFile(filepath.Join(c.Dir, "aside-1", name))
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %d bytes, had %d", name, len(got), len(want))
		}
	}
	want, status := o.texts(t), o.Status()
	o.kill()
	if o = open(t, c); !slices.Equal(o.texts(t), want) || o.Status() != status {
		t.Errorf("status is %+v, was %+v", o.Status(), status)
	}
}
