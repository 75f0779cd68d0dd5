package forward

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "node1"

// config returns the configuration of a bridge with its own state directory.
func config(t *testing.T, server *fleettest.Server, e *fleettest.Eventd) Config {
	t.Helper()
	return Config{
		Bus: e.Bus.Address(), Access: fleet.Access{Servers: server.URL}, Stream: fleet.DefaultStream, Host: host, Machine: "m1",
		Version: "1", StateDir: t.TempDir(), Alive: time.Hour, Log: slog.New(slog.NewTextHandler(logTo{t}, nil)),
		Progress: func(string) {}, Tick: time.Second,
	}
}

// logTo writes log lines to the output of a test.
type logTo struct{ t *testing.T }

func (l logTo) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// running is a bridge in this process.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel, make(chan error, 1)}
	go func() { r.ended <- Run(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if r.ended != nil {
			<-r.ended
		}
	})
	return r
}

// stop stops the bridge, which must not have ended by itself.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	err := apitest.Await(t, "the bridge ends", r.ended)
	r.ended = nil
	if err != nil {
		t.Fatal(err)
	}
}

// expectFence waits until the bridge ends with a FenceError that contains a text.
func (r *running) expectFence(t *testing.T, text string) {
	t.Helper()
	err := apitest.Await(t, "the bridge ends", r.ended)
	r.ended = nil
	if fence, ok := errors.AsType[*FenceError](err); !ok || !strings.Contains(fence.Text, text) {
		t.Fatalf("the bridge ended with %v, want a FenceError: %s", err, text)
	}
}

// expectStream checks the number of events and of lost events in the stream.
func expectStream(t *testing.T, stream jetstream.Stream, events int, lost uint64) fleettest.Got {
	t.Helper()
	got := fleettest.Read(t, stream, host)
	if got.Events != events || got.Lost() != lost {
		t.Fatalf("the stream has %d events and gaps of %d, want %d and %d; records %+v", got.Events, got.Lost(), events, lost, got.Records)
	}
	return got
}

func TestForward(t *testing.T) {
	e, server := fleettest.StartEventd(t, 10_000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	e.Commit(t, 3000)
	c := config(t, server, e)
	c.Alive = time.Second
	var status []string
	c.Progress = func(s string) { status = append(status, s) }
	r := start(t, c)
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
	apitest.Eventually(t, "the stream has a heartbeat", func() bool {
		got := fleettest.Read(t, stream, host)
		return got.Records[len(got.Records)-1].Type == fleet.TypeAlive
	})
	r.stop(t)
	got := expectStream(t, stream, 3001, 0)
	first, last := got.Records[0], got.Records[len(got.Records)-1]
	if first.Type != fleet.TypeStart || first.Reason != fleet.StartNew || first.Host != host || first.Machine != "m1" || first.Interval != 1 {
		t.Errorf("the first record is %+v", first)
	}
	if *last.State != (fleet.State{History: 3001}) || last.Cursor != got.Cursor {
		t.Errorf("the last record is %+v, %+v", last, last.State)
	}
	if all := strings.Join(status, "\n"); !strings.Contains(all, "Forwarding to osctl.events.node1") || !regexp.MustCompile(`, \d+ of \d+ events behind`).MatchString(all) {
		t.Errorf("the status lines are %q", all)
	}
	if got.Chunks > 300 {
		t.Errorf("%d messages for %d events", got.Chunks, got.Events)
	}
	// The next run continues there.
	r = start(t, c)
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 10))
	r.stop(t)
	got = expectStream(t, stream, 3011, 0)
	if n := len(got.Records); got.Gaps() != nil || n < 3 {
		t.Errorf("records %+v", got.Records)
	}
}

// TestProgress forwards one reply of osctl-eventd as many messages, which take long on a slow link. It expects status
// lines between them, because these feed the watchdog.
func TestProgress(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	last := e.Commit(t, 1000, "pool", "tank", "id", "101", "state", "running", "text", strings.Repeat("x", 3000))
	c := config(t, server, e)
	c.Tick = time.Millisecond
	seen := map[string]bool{}
	c.Progress = func(status string) { seen[regexp.MustCompile(` at [^ ,]+`).FindString(status)] = true }
	r := start(t, c)
	fleettest.AwaitCursor(t, stream, host, last)
	r.stop(t)
	if len(seen) < 3 {
		t.Errorf("the status lines have only the positions %v", seen)
	}
}

// TestLapped keeps NATS away until osctl-eventd has dropped events.
func TestLapped(t *testing.T) {
	e, server := fleettest.StartEventd(t, 256), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	start(t, config(t, server, e))
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 200))
	server.Kill()
	e.Commit(t, 1000)
	server.Start(t)
	cursor := e.Commit(t, 1)
	fleettest.AwaitCursor(t, stream, host, cursor)
	got := fleettest.Read(t, stream, host)
	gaps := got.Gaps()
	if len(gaps) == 0 || gaps[0].Reason != fleet.GapLapped || got.Events+int(got.Lost()) != 1201 || got.Events < 256 {
		t.Errorf("%d events, gaps %+v", got.Events, gaps)
	}
}

// TestEpoch lets osctl-eventd lose its history.
func TestEpoch(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	c := config(t, server, e)
	r := start(t, c)
	was := e.Commit(t, 100)
	fleettest.AwaitCursor(t, stream, host, was)
	e.Stop()
	e.Serve(t, apitest.NewHub(t, hub.Config{}))
	is := e.Commit(t, 50)
	fleettest.AwaitCursor(t, stream, host, is)
	r.stop(t)
	gaps := expectStream(t, stream, 150, 0)
	if g := gaps.Gaps(); len(g) != 1 || g[0].Reason != fleet.GapEpoch || g[0].From != was {
		t.Errorf("gaps %+v", g)
	}
	// The same while the bridge is away.
	e.Stop()
	e.Serve(t, apitest.NewHub(t, hub.Config{}))
	is = e.Commit(t, 7)
	start(t, c)
	fleettest.AwaitCursor(t, stream, host, is)
	expectStream(t, stream, 157, 0)
}

// TestTooLarge forwards events that exceed the limit of the server, or that of the stream.
func TestTooLarge(t *testing.T) {
	for _, test := range []struct {
		name, conf string
		max        int32
	}{{"server", "max_payload: 16384", -1}, {"stream", "", 16384}} {
		t.Run(test.name, func(t *testing.T) {
			e, server := fleettest.StartEventd(t, 1000), fleettest.StartServer(t, test.conf)
			stream := server.MakeStream(t, func(c *jetstream.StreamConfig) { c.MaxMsgSize = test.max })
			e.Commit(t, 150)
			e.Commit(t, 1, "pool", "tank", "id", "101", "state", "running", "text", strings.Repeat("x", 20_000))
			cursor := e.Commit(t, 150)
			start(t, config(t, server, e))
			fleettest.AwaitCursor(t, stream, host, cursor)
			got := expectStream(t, stream, 300, 1)
			if g := got.Gaps(); len(g) != 1 || g[0].Reason != fleet.GapTooLarge || !strings.Contains(g[0].Detail, "event 151 of type state") {
				t.Errorf("gaps %+v", g)
			}
		})
	}
}

// TestFullAndEmptied fills a stream that refuses more messages, and then empties it.
func TestFullAndEmptied(t *testing.T) {
	e, server := fleettest.StartEventd(t, 10_000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, func(c *jetstream.StreamConfig) {
		c.Discard, c.MaxBytes = jetstream.DiscardNew, 64<<10
	})
	c := config(t, server, e)
	refused := make(chan string, 1)
	c.Progress = func(status string) {
		if strings.Contains(status, "maximum bytes exceeded") {
			select {
			case refused <- status:
			default:
			}
		}
	}
	r := start(t, c)
	events, cursor, full := 0, "", false
	for !full {
		events++
		cursor = e.Commit(t, 1)
		apitest.Eventually(t, "the stream accepts or refuses the event", func() bool {
			full = len(refused) > 0
			return full || fleettest.Cursor(t.Context(), stream, host) == cursor
		})
	}
	events += 20
	cursor = e.Commit(t, 20)
	before := fleettest.Read(t, stream, host)
	if err := stream.Purge(apitest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
	fleettest.AwaitCursor(t, stream, host, cursor)
	// The server stores a message before the bridge gets the reply, so a stop in between leaves an older cursor.
	apitest.Eventually(t, "the state file has the cursor", func() bool {
		text, err := os.ReadFile(filepath.Join(c.StateDir, "cursor"))
		return err == nil && string(text) == cursor+"\n"
	})
	r.stop(t)
	after := fleettest.Read(t, stream, host)
	if first := after.Records[0]; before.Events+after.Events != events || first.Reason != fleet.StartStreamEmpty || first.Cursor != before.Cursor {
		t.Errorf("%d and %d events, the first record after the purge is %+v", before.Events, after.Events, first)
	}
	// The state file keeps the cursor over a restart.
	if err := stream.Purge(apitest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 5))
	expectStream(t, stream, 5, 0)
}

// TestOlderStore replaces the server's store by an older copy.
func TestOlderStore(t *testing.T) {
	e, server := fleettest.StartEventd(t, 10_000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	start(t, config(t, server, e))
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 50))
	server.Kill()
	store, older := filepath.Join(server.Dir, "store"), t.TempDir()
	if err := os.CopyFS(older, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	server.Start(t)
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 100))
	server.Kill()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(store, os.DirFS(older)); err != nil {
		t.Fatal(err)
	}
	server.Start(t)
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
	if got := expectStream(t, stream, 151, 0); got.Gaps() != nil {
		t.Errorf("gaps %+v", got.Gaps())
	}
}
