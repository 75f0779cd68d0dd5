package forward

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// TestOtherMachine forwards from a second machine under the name of the first: the second is refused until it
// may take over; then the first is refused.
func TestOtherMachine(t *testing.T) {
	first, second, server := fleettest.StartEventd(t, 1000), fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	a, b := config(t, server, first), config(t, server, second)
	b.Machine = "m2"
	running := start(t, a)
	was := first.Commit(t, 50)
	fleettest.AwaitCursor(t, stream, host, was)
	is := second.Commit(t, 30)
	start(t, b).expectFence(t, "another machine (m1) forwards to osctl.events.node1")
	expectStream(t, stream, 50, 0)
	b.TakeOver = true
	start(t, b)
	fleettest.AwaitCursor(t, stream, host, is)
	first.Commit(t, 1)
	running.expectFence(t, "another machine (m2)")
	got := expectStream(t, stream, 80, 0)
	if g := got.Gaps(); len(g) != 1 || g[0].Reason != fleet.GapTakeOver || g[0].From != was {
		t.Errorf("gaps %+v", g)
	}
}

// TestSameMachineID forwards from a clone with the same machine-id, but another history.
func TestSameMachineID(t *testing.T) {
	first, second, server := fleettest.StartEventd(t, 1000), fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	start(t, config(t, server, first))
	fleettest.AwaitCursor(t, stream, host, first.Commit(t, 50))
	second.Commit(t, 100)
	start(t, config(t, server, second)).expectFence(t, "it has another epoch")
	fleettest.AwaitCursor(t, stream, host, first.Commit(t, 50))
	expectStream(t, stream, 100, 0)
}

// TestCopiedHistory forwards from two machines with copies of one disk. The second one is behind the stream,
// and later ahead of it.
func TestCopiedHistory(t *testing.T) {
	server := fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	dir, copied := t.TempDir(), t.TempDir()
	openHub := func(dir string) *hub.Hub {
		log, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir, MaxEvents: 1000, Boot: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		h := apitest.NewHub(t, hub.Config{Log: log})
		t.Cleanup(h.Close)
		return h
	}
	first := fleettest.StartEventd(t, 1000)
	first.Stop()
	h := openHub(dir)
	first.Serve(t, h)
	a := config(t, server, first)
	running := start(t, a)
	fleettest.AwaitCursor(t, stream, host, first.Commit(t, 50))
	running.stop(t)
	first.Stop()
	h.Close()
	for from, to := range map[string]string{dir: copied, a.StateDir: filepath.Join(copied, "bridge")} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	first.Serve(t, openHub(dir))
	start(t, a)
	fleettest.AwaitCursor(t, stream, host, first.Commit(t, 20))

	second := fleettest.StartEventd(t, 1000)
	second.Stop()
	second.Serve(t, openHub(copied))
	b := config(t, server, second)
	b.StateDir = filepath.Join(copied, "bridge")
	start(t, b).expectFence(t, "its event 70 does not exist here")
	second.Commit(t, 40)
	start(t, b).expectFence(t, "its event 70 is another one here")
	fleettest.AwaitCursor(t, stream, host, first.Commit(t, 5))
	if got := expectStream(t, stream, 75, 0); got.Gaps() != nil {
		t.Errorf("gaps %+v", got.Gaps())
	}
	// The second machine takes over, so its own events are in the stream then.
	b.TakeOver = true
	start(t, b)
	is := second.Commit(t, 1)
	fleettest.AwaitCursor(t, stream, host, is)
	got := fleettest.Read(t, stream, host)
	if g := got.Gaps(); len(g) != 1 || g[0].Reason != fleet.GapTakeOver {
		t.Errorf("gaps %+v", g)
	}
}

// TestRestoredHistory restores an older copy of osctl-eventd's history, but not of the state of the bridge. With
// leave to take over, the bridge forwards all events of the restored history, whether it has more or fewer events
// than the stream.
func TestRestoredHistory(t *testing.T) {
	for name, test := range map[string]struct {
		more  int // events after the restored ones
		fence string
	}{"fewer events": {0, "its event 70 does not exist here"}, "more events": {40, "its event 70 is another one here"}} {
		t.Run(name, func(t *testing.T) {
			server := fleettest.StartServer(t, "")
			stream := server.MakeStream(t, nil)
			dir, copied := t.TempDir(), t.TempDir()
			e := fleettest.StartEventd(t, 1000)
			restart := func(dir string) *hub.Hub {
				e.Stop()
				log, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir, MaxEvents: 1000, Boot: "boot"})
				if err != nil {
					t.Fatal(err)
				}
				h := apitest.NewHub(t, hub.Config{Log: log})
				t.Cleanup(h.Close)
				e.Serve(t, h)
				return h
			}
			h := restart(dir)
			e.Commit(t, 50)
			e.Stop()
			h.Close()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			restart(dir)
			c := config(t, server, e)
			r := start(t, c)
			last := e.Commit(t, 20)
			apitest.Eventually(t, "the state file has the last cursor", func() bool {
				text, err := os.ReadFile(filepath.Join(c.StateDir, "cursor"))
				return err == nil && string(text) == last+"\n"
			})
			r.stop(t)
			restart(copied)
			cursor := hub.FormatCursor(apitest.Epoch(e.Hub), uint64(50+test.more))
			e.Commit(t, test.more)
			start(t, c).expectFence(t, test.fence)
			c.TakeOver = true
			r = start(t, c)
			fleettest.AwaitCursor(t, stream, host, cursor)
			r.stop(t)
			got := expectStream(t, stream, 70+50+test.more, 0)
			if g := got.Gaps(); len(g) != 1 || g[0].Reason != fleet.GapTakeOver {
				t.Errorf("gaps %+v", g)
			}
		})
	}
}

// TestRestoredHistoryStreamEmpty has a state file with a later event than the history, and a stream without messages.
// The stream may have had the events that the bridge writes then, so it must not say that nothing comes again.
func TestRestoredHistoryStreamEmpty(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	c := config(t, server, e)
	last := e.Commit(t, 50)
	later := hub.FormatCursor(apitest.Epoch(e.Hub), 70) + "\n"
	if err := os.WriteFile(filepath.Join(c.StateDir, "cursor"), []byte(later), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	fleettest.AwaitCursor(t, stream, host, last)
	got := expectStream(t, stream, 50, 0)
	if first := got.Records[0]; first.Type != fleet.TypeStart || first.Reason != fleet.StartNew {
		t.Errorf("the first record is %+v", first)
	}
}

// TestForeign writes messages to the subject that no bridge wrote, or that are copies.
func TestForeign(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	conn := server.Connect(t)
	c := config(t, server, e)
	for name, header := range map[string]nats.Header{
		"nothing": nil,
		"a copy": {
			fleet.HeaderCursor: {"e:1"}, fleet.HeaderMachine: {"m1"},
			nats.JSStream: {"OSCTL"}, nats.JSSubject: {"osctl.events.other"}, nats.JSSequence: {"1"},
		},
		"a status":    {"Status": {"404"}, "Description": {"No Messages"}},
		"two cursors": {fleet.HeaderCursor: {"e:1", "e:2"}, fleet.HeaderMachine: {"m1"}},
	} {
		c.TakeOver = false
		r := start(t, c)
		was := e.Commit(t, 10)
		fleettest.AwaitCursor(t, stream, host, was)
		fleettest.Forge(t, conn, host, header, map[string]string{"type": "x", "cursor": "e:1"})
		e.Commit(t, 1)
		r.expectFence(t, "not written by a bridge")
		c.TakeOver = true
		r = start(t, c)
		fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
		r.stop(t)
		if t.Failed() {
			t.Fatal("with", name)
		}
	}
	// All events are in the stream, among the foreign messages.
	var track fleet.Track
	events, foreign := 0, 0
	for _, msg := range fleettest.Messages(t, stream, host) {
		head, err := fleet.ParseHead(msg.Header, 0)
		if err != nil {
			foreign++
			continue
		}
		lines, err := track.Take(&head, msg.Data)
		if err != nil {
			foreign++
		}
		for _, line := range lines {
			switch {
			case line.Again, line.Record != nil && line.Record.Reason == fleet.GapDropped:
				t.Errorf("%+v, record %+v", line, line.Record)
			case line.Record == nil:
				events++
			}
		}
	}
	if events != 48 || foreign != 4 {
		t.Errorf("%d events and %d foreign messages, want 48 and 4", events, foreign)
	}
}

// TestOneBridgeADirectory checks that two bridges cannot use one state directory.
func TestOneBridgeADirectory(t *testing.T) {
	e, server := fleettest.StartEventd(t, 10), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	c := config(t, server, e)
	start(t, c)
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
	if err := Run(t.Context(), c); err == nil {
		t.Error("a second bridge uses the state directory")
	}
}

// TestEpochIsKept checks that the state file has an epoch as soon as the stream has it. A bridge that is killed
// then must recognise its own head, even if osctl-eventd begins another epoch.
func TestEpochIsKept(t *testing.T) {
	e, server := fleettest.StartEventd(t, 10), fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	c := config(t, server, e)
	c.Tick = time.Hour
	start(t, c)
	apitest.Eventually(t, "the state file has the epoch", func() bool {
		text, err := os.ReadFile(filepath.Join(c.StateDir, "cursor"))
		return err == nil && string(text) == hub.FormatCursor(apitest.Epoch(e.Hub), 0)+"\n"
	})
}

// TestStateIsSynced saves the state where the new file is a link to /dev/null, which takes the cursor, but cannot be
// synced. It expects the error, and the old file to stay.
func TestStateIsSynced(t *testing.T) {
	dir := t.TempDir()
	state, err := openState(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = state.close() }()
	state.cursor = "e:1"
	if err := state.save(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, filepath.Join(dir, "cursor.new")); err != nil {
		t.Fatal(err)
	}
	state.cursor = "e:2"
	if err := state.save(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("save: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "cursor")); err != nil || string(text) != "e:1\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

func TestMachineID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(path, []byte("3f8e4c0a5d0b4f6c9b7a1122334455ff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// wantMachine is the output of systemd-id128 machine-id --app-specific for this machine-id.
	if id, err := MachineID(path); err != nil || id != wantMachine {
		t.Errorf("MachineID = %s, %v", id, err)
	}
	if err := os.WriteFile(path, []byte("uninitialized\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := MachineID(path); err == nil {
		t.Error("MachineID accepts an uninitialized machine-id")
	}
}

const wantMachine = "50dc2d46abda4d80b366b51704343e12"
