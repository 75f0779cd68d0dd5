package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/hub"
)

// journalRun is a running journal.
type journalRun struct {
	hub  *hub.Hub
	log  *lockedBuffer
	stop context.CancelFunc
	done chan error
}

func runJournal(t *testing.T, path string, history int) *journalRun {
	t.Helper()
	events, err := hub.New(t.Context(), hub.Config{History: history})
	must(t, err)
	return runJournalOf(t, events, "", path)
}

func runJournalOf(t *testing.T, events *hub.Hub, dir, path string) *journalRun {
	t.Helper()
	r := &journalRun{hub: events, log: &lockedBuffer{}, done: make(chan error, 1)}
	j, err := newJournal(t.Context(), slog.New(slog.NewTextHandler(r.log, nil)), events, dir, path)
	must(t, err)
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.done <- j.Run(ctx) }()
	t.Cleanup(r.stopFunc(t))
	return r
}

// stopFunc returns a function that stops the journal, once, and checks that it stops cleanly.
func (r *journalRun) stopFunc(t *testing.T) func() {
	return func() {
		t.Helper()
		r.stop()
		select {
		case err, ok := <-r.done:
			if ok && err != nil {
				t.Error(err)
			}
			if ok {
				close(r.done)
			}
		case <-time.After(patience):
			t.Error("the journal does not stop")
		}
	}
}

// commit commits an event for each name, and returns the number of the last one.
func (r *journalRun) commit(t *testing.T, texts ...string) uint64 {
	t.Helper()
	var last uint64
	for _, text := range texts {
		e, err := hub.NewEvent("probe", hub.Options{
			{Name: "pool", Value: hub.String("tank")}, {Name: "id", Value: hub.String("101")}, {Name: "name", Value: hub.String(text)},
		}, "uid:0")
		must(t, err)
		last, err = r.hub.Commit(hub.Batch{Events: []*hub.Event{e}})
		must(t, err)
	}
	return last
}

func TestJournalEntries(t *testing.T) {
	journald := newFakeJournald(t)
	r := runJournal(t, journald.path, 100)
	forged := "eth0\nPRIORITY=0\nMESSAGE=forged"
	long := strings.Repeat("\x01long", 12_000) // as JSON it exceeds a datagram
	shown := []string{"eth0", `eth0\nPRIORITY=0\nMESSAGE=forged`, "a=b", strings.ReplaceAll(long, "\x01", `\x01`), `\u009b2J\u202e`}
	for i, text := range []string{"eth0", forged, "a=b", long, "\u009b2J\u202e"} {
		r.commit(t, text)
		entry := journald.next()
		for name, want := range map[string]string{
			"MESSAGE_ID": messageEvent, "PRIORITY": "6", "SYSLOG_IDENTIFIER": "osctl-eventd",
			"MESSAGE":    "probe tank:101 name=" + shown[i],
			"OSCTL_TYPE": "probe", "OSCTL_POOL": "tank", "OSCTL_ID": "101", "OSCTL_SOURCE": "uid:0", "OSCTL_NAME": text,
			"OSCTL_SEQ": strconv.Itoa(i + 1), "OSCTL_CURSOR": hub.FormatCursor(r.hub.Status().Epoch, uint64(i+1)),
		} {
			if entry[name] != want {
				t.Errorf("entry %d: %s is %.80q, want %.80q", i, name, entry[name], want)
			}
		}
		if !strings.HasPrefix(entry["OSCTL_OPTS"], `{"pool":"tank","id":"101","name":`) {
			t.Errorf("entry %d: OSCTL_OPTS is %.80q", i, entry["OSCTL_OPTS"])
		}
		if _, ok := entry["OSCTL_VETH"]; ok || len(entry) != 13 {
			t.Errorf("entry %d has the fields %v", i, entry)
		}
	}
}

// TestJournalBlocked checks that a blocked journald delays the journal alone, and that the
// journal then says how many events are missing.
func TestJournalBlocked(t *testing.T) {
	// The queue of a socket is far shorter: 10 entries, or 512 where systemd set it.
	const history, more = 50, 4000
	journald := newFakeJournald(t)
	r := runJournal(t, journald.path, history)
	last := uint64(0)
	for range history + more { // never blocks
		last = r.commit(t, "eth0")
	}
	r.commit(t, "end")
	seen, lost := uint64(0), uint64(0)
	for seen+lost < last+1 {
		entry := journald.next()
		if entry["MESSAGE_ID"] != messageLost {
			seen++
			if want := strconv.FormatUint(seen+lost, 10); entry["OSCTL_SEQ"] != want {
				t.Fatalf("event %s, want %s", entry["OSCTL_SEQ"], want)
			}
			continue
		}
		n, err := strconv.ParseUint(entry["OSCTL_LOST"], 10, 64)
		must(t, err)
		if want := strconv.FormatUint(seen+lost+1, 10); entry["OSCTL_FIRST_SEQ"] != want || entry["PRIORITY"] != "4" {
			t.Errorf("the first lost event is %s, want %s: %v", entry["OSCTL_FIRST_SEQ"], want, entry)
		}
		lost += n
	}
	if lost < more/2 {
		t.Errorf("%d events in the journal, %d lost: journald was not blocked", seen, lost)
	}
}

// TestJournalStopsBlocked checks that a hung journald does not delay the stop, and that the next
// start writes the remaining events.
func TestJournalStopsBlocked(t *testing.T) {
	journald, dir := newFakeJournald(t), t.TempDir()
	const all = 4000 // more than the queue of a socket holds, see TestJournalBlocked
	events, err := hub.New(t.Context(), hub.Config{History: all})
	must(t, err)
	r := runJournalOf(t, events, dir, journald.path)
	for range all {
		r.commit(t, "eth0")
	}
	r.stopFunc(t)()
	if !strings.Contains(r.log.String(), "the journal lacks the last events") {
		t.Errorf("logged %q", r.log)
	}
	runJournalOf(t, events, dir, journald.path)
	for seen := map[string]bool{}; len(seen) < all; { // the queue still holds entries of the first run
		seen[journald.next()["OSCTL_SEQ"]] = true
	}
}

// TestJournalEnd checks that events committed before the stop are written.
func TestJournalEnd(t *testing.T) {
	journald := newFakeJournald(t)
	r := runJournal(t, journald.path, 1000)
	last := r.commit(t, "eth0", "eth1", "eth2")
	r.stopFunc(t)()
	for seq := range last {
		if got := journald.next()["OSCTL_SEQ"]; got != strconv.FormatUint(seq+1, 10) {
			t.Errorf("event %s, want %d", got, seq+1)
		}
	}
}

// TestJournalAway checks that entries wait while journald restarts.
func TestJournalAway(t *testing.T) {
	journald := newFakeJournald(t)
	r := runJournal(t, journald.path, 1000)
	r.commit(t, "eth0")
	journald.next()
	must(t, errors.Join(journald.sock.Close(), os.Remove(journald.path)))
	r.commit(t, "eth1")
	apitest.Eventually(t, "the journal notices", func() bool { return strings.Contains(r.log.String(), "journald accepts no entries") })
	journald.listen()
	if got := journald.next()["OSCTL_NAME"]; got != "eth1" {
		t.Errorf("after the restart journald received %q", got)
	}
}

// TestJournalPosition checks that the journal resumes after a crash, and that it says so if it
// cannot.
func TestJournalPosition(t *testing.T) {
	journald, dir := newFakeJournald(t), t.TempDir()
	events, err := hub.New(t.Context(), hub.Config{History: 1000})
	must(t, err)
	position := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "journal-position"))
		must(t, err)
		return strings.TrimSpace(string(text))
	}
	cursor := func(seq uint64) string { return hub.FormatCursor(events.Status().Epoch, seq) }

	r := runJournalOf(t, events, dir, journald.path)
	last := r.commit(t, "eth0", "eth1")
	for range last {
		journald.next()
	}
	// A crash from here on leaves this position.
	apitest.Eventually(t, "the position is written", func() bool { return position() == cursor(last) })
	r.stopFunc(t)()
	if got := position(); got != "" {
		t.Errorf("a clean stop leaves the position %q", got)
	}
	last = r.commit(t, "eth2") // while no journal runs

	leave := func(text string) {
		must(t, os.WriteFile(filepath.Join(dir, "journal-position"), []byte(text), 0o600))
	}
	leave(cursor(1))
	r = runJournalOf(t, events, dir, journald.path)
	for seq := uint64(2); seq <= last; seq++ {
		if got := journald.next()["OSCTL_SEQ"]; got != strconv.FormatUint(seq, 10) {
			t.Errorf("after a crash: event %s, want %d", got, seq)
		}
	}
	r.stopFunc(t)()

	leave("0123456789abcdef0123456789abcdef:1") // of another epoch
	r = runJournalOf(t, events, dir, journald.path)
	if entry := journald.next(); entry["MESSAGE_ID"] != messageLost {
		t.Errorf("got %v, want an entry for the lost events", entry)
	}
	if got := journald.next()["OSCTL_SEQ"]; got != "1" {
		t.Errorf("got event %s, want the oldest", got)
	}
	r.stopFunc(t)()

	leave("rubbish")
	r = runJournalOf(t, events, dir, journald.path)
	if !strings.Contains(r.log.String(), "the journal position is damaged") {
		t.Errorf("logged %q", r.log)
	}
}

// hungPosition is a position file on a disk that hangs until letGo is closed.
type hungPosition struct {
	positionFile
	letGo chan struct{}
}

func (f hungPosition) WriteAt(b []byte, off int64) (int, error) {
	<-f.letGo
	return f.positionFile.WriteAt(b, off)
}

// TestJournalPositionHangs checks that start, saves and stop do not wait for a hung disk, and that
// the newest position is written once the disk works again.
func TestJournalPositionHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, dir, letGo := slog.New(slog.DiscardHandler), t.TempDir(), make(chan struct{})
		start := time.Now()
		p, _, err := openJournalPosition(t.Context(), log, func() (positionFile, error) {
			<-letGo
			return openPositionFile(dir)
		})
		if p != nil || !errors.Is(err, errPositionHangs) {
			t.Errorf("open on a hung disk: %v, want %v", err, errPositionHangs)
		}
		open := func() (positionFile, error) {
			file, err := openPositionFile(dir)
			return hungPosition{file, letGo}, err
		}
		p, _, err = openJournalPosition(t.Context(), log, open)
		must(t, err)
		for i := range 10 {
			p.save(strconv.Itoa(i))
			synctest.Wait()
		}
		p.close(false)
		if took := time.Since(start); took != positionTimeout+journalGrace { // fake time
			t.Errorf("open and close took %v", took)
		}
		close(letGo)
		synctest.Wait()
		if p, cursor, err := openJournalPosition(t.Context(), log, open); err != nil || cursor != "9" {
			t.Errorf("the position is %q, %v", cursor, err)
		} else {
			p.close(true)
		}
	})
}
