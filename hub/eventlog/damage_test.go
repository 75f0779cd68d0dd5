package eventlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// damaged is a log, and copies of it with a damaged newest segment.
type damaged struct {
	pristine string   // directory
	copy     string   // directory
	newest   string   // name of the newest segment
	content  []byte   // of the newest segment
	ends     []int64  // ends of the records of the newest segment, by event
	before   int      // events in older segments
	events   []string // all of them
	epoch    string
	checks   int
	head     []byte // of the pristine log
}

func newDamaged(t *testing.T, events int) *damaged {
	t.Helper()
	dir := inMemory(t)
	d := &damaged{pristine: filepath.Join(dir, "pristine"), copy: filepath.Join(dir, "copy")}
	c := config(d.pristine)
	c.MaxEvents = 1 << 10 // segments of 256 events
	o := open(t, c)
	known := ""
	for i := range events {
		o.fill(t, 1)
		paths := segments(t, d.pristine)
		path := paths[len(paths)-1]
		if path != known && known != "" {
			known, d.before, d.ends = path, i+1, nil // a segment begins with a snapshot
			continue
		}
		known = path
		info, err := os.Stat(path)
		must(t, err)
		d.ends = append(d.ends, info.Size())
	}
	d.events, d.epoch, d.newest = o.texts(t), o.Status().Epoch, filepath.Base(known)
	o.kill()
	var err error
	d.content, err = os.ReadFile(known)
	must(t, err)
	return d
}

// whole returns how many events end at or before a byte of the newest segment.
func (d *damaged) whole(at int64) int {
	n := d.before
	for _, end := range d.ends {
		if end <= at {
			n++
		}
	}
	return n
}

// check opens a damaged copy. It must have exactly the whole events before the damage, and keep the epoch
// only if none is missing.
func (d *damaged) check(t *testing.T, what string, content []byte, whole int) {
	t.Helper()
	dir := d.copy
	d.restore(t)
	must(t, os.WriteFile(filepath.Join(logDir(t, dir), d.newest), content, 0o600))
	c := config(dir)
	c.MaxEvents = 1 << 10
	o := open(t, c)
	defer o.kill()
	if status := o.Status(); status.Last != uint64(whole) || status.Oldest != 1 {
		t.Fatalf("%s: status is %+v, want the first %d of %d events; logged: %s", what, status, whole, len(d.events), o.logged)
	}
	d.compare(t, what, o, max(whole, 1)-1, whole)
	if same := o.Status().Epoch == d.epoch; same != (whole == len(d.events)) {
		t.Fatalf("%s: same epoch %v with %d of %d events", what, same, whole, len(d.events))
	}
	if whole < len(d.events) && !strings.Contains(o.logged.String(), "level=WARN") {
		t.Fatalf("%s: no warning was logged", what)
	}
	o.fill(t, 1)
	if !o.Status().Durable || o.Status().Last != uint64(whole+1) {
		t.Fatalf("%s: after another event status is %+v", what, o.Status())
	}
	if d.checks++; d.checks%16 != 0 {
		return // to save time
	}
	d.compare(t, what, o, 0, whole)
	epoch, want := o.Status().Epoch, o.texts(t)
	o.kill()
	o = open(t, c)
	defer o.kill()
	if again := o.texts(t); len(again) != len(want) || again[whole] != want[whole] || o.Status().Epoch != epoch {
		t.Fatalf("%s: after another restart %d events, want %d", what, len(again), len(want))
	}
}

// restore makes the copy pristine again. Only the head and the newest segment change, and new files may
// appear.
func (d *damaged) restore(t *testing.T) {
	t.Helper()
	if d.head == nil {
		copyDir(t, d.pristine, d.copy)
		var err error
		d.head, err = os.ReadFile(headPath(t, d.pristine))
		must(t, err)
	}
	for _, dir := range []string{d.copy, logDir(t, d.copy)} {
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, entry := range entries {
			if name := entry.Name(); name > d.newest && name != "head" && name != "log-1" {
				must(t, os.RemoveAll(filepath.Join(dir, name)))
			}
		}
	}
	must(t, os.WriteFile(headPath(t, d.copy), d.head, 0o600))
}

// compare checks the events after number after, up to number last.
func (d *damaged) compare(t *testing.T, what string, o *testHub, after, last int) {
	t.Helper()
	got := o.texts(t, uint64(after))
	for i := range last - after {
		if got[i] != d.events[after+i] {
			t.Fatalf("%s: event %d is %s, was %s", what, after+i+1, got[i], d.events[after+i])
		}
	}
}

func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ events, step int }{"one segment": {60, 17}, "several segments": {256 + 60, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDamaged(t, test.events)
			size := len(d.content)
			for cut := size; cut >= max(16, size-4096); cut -= test.step {
				d.check(t, fmt.Sprintf("cut at byte %d of %d", cut, size), d.content[:cut], d.whole(int64(cut)))
			}
		})
	}
}

func TestEveryByteDamaged(t *testing.T) {
	t.Parallel()
	d := newDamaged(t, 256+60)
	for at := len(d.content) - 512; at < len(d.content); at++ {
		content, bit := append([]byte(nil), d.content...), at%8
		content[at] ^= 1 << bit
		d.check(t, fmt.Sprintf("bit %d of byte %d flipped", bit, at), content, d.whole(int64(at)))
	}
}

// A loss of power may leave blocks of zeros at the end.
func TestZerosAtTheEnd(t *testing.T) {
	d := newDamaged(t, 60)
	d.check(t, "zeros appended", append(append([]byte(nil), d.content...), make([]byte, 4096)...), 60)
	for _, from := range []int{100, 1000, len(d.content) - 20} {
		content := append([]byte(nil), d.content...)
		clear(content[from:])
		d.check(t, fmt.Sprintf("zeros from %d", from), content, d.whole(int64(from)))
	}
}
