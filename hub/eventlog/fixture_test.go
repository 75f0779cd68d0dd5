package eventlog_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const thisBoot = "11111111-2222-3333-4444-555555555555"

// testHub is a hub with a log on disk.
type testHub struct {
	*hub.Hub
	log    *recordingLog
	logged *logBuffer
	stop   func() // ends Run
}

// recordingLog is a log that records its writers.
type recordingLog struct {
	*eventlog.Log
	around  func(load func()) // calls load, in its goroutine
	mu      sync.Mutex
	writers []*eventlog.Writer
}

func (l *recordingLog) add(w hub.Writer) {
	if w, ok := w.(*eventlog.Writer); ok && w != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.writers = append(l.writers, w)
	}
}

func (l *recordingLog) Load(ctx context.Context, replay func(hub.Record) error, whole func() bool) hub.Stored {
	var stored hub.Stored
	l.around(func() { stored = l.Log.Load(ctx, replay, whole) })
	l.add(stored.Writer)
	return stored
}

func (l *recordingLog) Create(epoch string) (hub.Writer, error) {
	w, err := l.Log.Create(epoch)
	l.add(w)
	return w, err
}

// writer returns the newest writer.
func (l *recordingLog) writer() *eventlog.Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writers[len(l.writers)-1]
}

// logBuffer keeps the logged text.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *logBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *logBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func config(dir string) eventlog.Config {
	return eventlog.Config{Dir: dir, Boot: thisBoot, Logger: slog.New(slog.DiscardHandler)}
}

// open opens a hub on a log.
func open(tb testing.TB, c eventlog.Config) *testHub {
	tb.Helper()
	return openSyncing(tb, c, nil)
}

// openSyncing opens a hub on a log with a hook, see [eventlog.Log.OnSync].
func openSyncing(tb testing.TB, c eventlog.Config, before func(*os.File, string) error) *testHub {
	tb.Helper()
	return openLoading(tb, c, before, func(load func()) { load() })
}

// openLoading is openSyncing with a function that wraps the call of Load.
func openLoading(tb testing.TB, c eventlog.Config, before func(*os.File, string) error, around func(load func())) *testHub {
	tb.Helper()
	o := &testHub{logged: &logBuffer{}, stop: func() {}}
	c.Logger = slog.New(slog.NewTextHandler(o.logged, nil))
	l, err := eventlog.Open(tb.Context(), c)
	must(tb, err)
	o.log = &recordingLog{Log: l, around: around}
	if before != nil {
		o.log.OnSync(before)
	}
	if o.Hub, err = hub.New(tb.Context(), hub.Config{Log: o.log, Logger: c.Logger, History: c.MaxEvents}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(o.kill)
	return o
}

// kill ends the hub as SIGKILL does: it closes the descriptors without writing.
func (o *testHub) kill() {
	o.stop()
	o.waitForCommitter()
	o.log.mu.Lock()
	defer o.log.mu.Unlock()
	for _, w := range o.log.writers {
		w.Kill()
	}
	_ = o.log.Close()
}

// waitForCommitter waits until the committer has finished all commits.
func (o *testHub) waitForCommitter() { _, _ = o.Commit(hub.Batch{}) }

// sync syncs the log.
func (o *testHub) sync(tb testing.TB) {
	tb.Helper()
	o.waitForCommitter()
	must(tb, o.log.writer().Sync())
}

// run runs the hub until it is killed.
func (o *testHub) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = o.Run(ctx) }()
	o.stop = func() { cancel(); <-done }
}

// inMemory returns a directory in memory, if possible, for tests that open thousands of logs.
func inMemory(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "eventlog-test-") //nolint:usetesting // that is on the disk
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { must(tb, os.RemoveAll(dir)) })
	return dir
}

// event returns an event with values of several types.
func event(tb testing.TB, i int) *hub.Event {
	tb.Helper()
	e, err := hub.NewEvent("state", hub.Options{
		{Name: "pool", Value: hub.String("tank")},
		{Name: "id", Value: hub.String(fmt.Sprint(i % 50))},
		{Name: "state", Value: hub.String("running")},
		{Name: "u", Value: hub.Uint32(uint32(i))},
		{Name: "b", Value: hub.Bytes([]byte{0, byte(i), 255})},
	}, "test.service")
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// fill commits n events, one at a time.
func (o *testHub) fill(tb testing.TB, n int) {
	tb.Helper()
	for range n {
		if _, err := o.Commit(hub.Batch{Events: []*hub.Event{event(tb, int(o.Status().Last)+1)}}); err != nil {
			tb.Fatal(err)
		}
	}
	o.waitForCommitter()
}

// texts returns the events as texts with the types of values: all, or those after a number.
func (o *testHub) texts(tb testing.TB, after ...uint64) []string {
	tb.Helper()
	cursor := hub.CursorOldest
	if len(after) > 0 {
		cursor = hub.FormatCursor(o.Status().Epoch, after[0])
	}
	s, err := o.Subscribe(hub.Filter{}, cursor)
	if err != nil {
		tb.Fatal(err)
	}
	var all []string
	buf := make([]*hub.Event, 1024)
	for {
		n, err := s.Poll(buf)
		if err != nil {
			tb.Fatal(err)
		}
		if n == 0 {
			return all
		}
		for _, e := range buf[:n] {
			var b strings.Builder
			fmt.Fprint(&b, e.Seq, e.Time.UnixMicro(), e.Type, e.Source)
			for _, o := range e.Options {
				fmt.Fprintf(&b, " %s=%s:%q:%d", o.Name, o.Value.Type(), o.Value.Text(), o.Value.Bits())
			}
			all = append(all, b.String())
		}
	}
}

// logDir returns the directory of the current log.
func logDir(tb testing.TB, dir string) string {
	tb.Helper()
	newest := 0
	paths, err := filepath.Glob(filepath.Join(dir, "log-*"))
	must(tb, err)
	for _, path := range paths {
		n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "log-"))
		if err == nil { // otherwise it is unfinished
			newest = max(newest, n)
		}
	}
	return filepath.Join(dir, fmt.Sprint("log-", newest))
}

// segments returns the paths of the segments of the current log, the oldest first.
func segments(tb testing.TB, dir string) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(logDir(tb, dir), "*.seg"))
	must(tb, err)
	slices.Sort(paths)
	return paths
}

// headPath returns the path of the head of the current log.
func headPath(tb testing.TB, dir string) string {
	tb.Helper()
	return filepath.Join(logDir(tb, dir), "head")
}

// copyDir copies the files of a directory.
func copyDir(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.RemoveAll(to); err != nil {
		tb.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
}

// must fails the test on an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
