package eventlog_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// appendTo appends to a file.
func appendTo(tb testing.TB, path string, content []byte) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(tb, err)
	_, err = f.Write(content)
	must(tb, err)
	must(tb, f.Close())
}

// A record, or a part of one, that stays in a file after neither its write nor the cutting
// off of it worked costs nothing, and is not there twice.
func TestRecordThatStaysBehind(t *testing.T) { synctest.Test(t, recordThatStaysBehind) }

func recordThatStaysBehind(t *testing.T) {
	t.Helper()
	c := config(t.TempDir())
	c.MaxEvents = 1024
	o := open(t, c)
	o.fill(t, 600)
	o.log.FreezeSegment()
	o.fill(t, 1) // is announced, and the head says so
	before, noted := o.texts(t), o.Status()
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, c.Dir, killed)
	o.run()
	eventually(t, "the log is written again", func() bool { return o.Status().Durable })
	o.fill(t, 10)
	want, status := o.texts(t), o.Status()
	o.kill()

	paths := segments(t, c.Dir)
	next, err := os.ReadFile(paths[3])
	must(t, err)
	const header, recordHeader = 64, 20 // bytes
	record := next[header:][:recordHeader+binary.LittleEndian.Uint32(next[header:])]
	for name, left := range map[string][]byte{"whole": record, "half": record[:len(record)/2], "zeros": make([]byte, 50)} {
		c.Dir = filepath.Join(t.TempDir(), "followed")
		copyDir(t, filepath.Dir(paths[0]), c.Dir)
		appendTo(t, segments(t, c.Dir)[2], left)
		for range 2 {
			o = open(t, c)
			if got := o.texts(t); !slices.Equal(got, want) || o.Status() != status || o.said.String() != "" {
				t.Errorf("%s, and another segment follows: restored %d events, want %d; status is %+v, was %+v; said %s",
					name, len(got), len(want), o.Status(), status, o.said)
			}
			o.kill()
		}

		c.Dir = filepath.Join(t.TempDir(), "newest")
		copyDir(t, killed, c.Dir)
		appendTo(t, segments(t, c.Dir)[2], left)
		o = open(t, c)
		whole := name == "whole"
		if got := o.texts(t); !slices.Equal(got, before[:len(got)]) || len(got) < 600 || whole != (len(got) == 601) || whole != (o.Status().Epoch == noted.Epoch) {
			t.Errorf("%s, and nothing follows: restored %d events, status is %+v, was %+v", name, len(got), o.Status(), noted)
		}
		if asides, _ := filepath.Glob(filepath.Join(c.Dir, "aside-*", "*1.seg")); len(asides) != 0 || strings.Contains(o.said.String(), "gone") {
			t.Errorf("%s: set aside %q; said %s", name, asides, o.said)
		}
		o.kill()
	}
}
