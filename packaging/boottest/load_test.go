package boottest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// load reports events one after the other, each with a number of its own, whatever
// happens to the service.
type load struct {
	s        *system
	stop     context.CancelFunc
	done     sync.WaitGroup
	answered map[uint64]uint64 // number of the event, by the load's number
	refused  []uint64          // of calls that the service refused while it stopped
	failed   []error           // of calls without an answer: their events may be there or not
	last     uint64            // the load's last number that was answered
}

// startLoad begins to report. The load ends with the test at the latest.
func (s *system) startLoad() *load {
	s.t.Helper()
	l := &load{s: s, answered: map[uint64]uint64{}}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(s.t.Context())
	caller := s.dial()
	l.done.Go(func() {
		defer caller.Close()
		for n := uint64(1); ctx.Err() == nil; n++ {
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			seq, err := caller.Report(call, "load", hub.Options{{Name: "n", Value: hub.Uint64(n)}})
			cancel()
			refusal, ok := errors.AsType[*client.Error](err)
			switch {
			case err == nil:
				l.answered[n], l.last = seq, n
			case ok && refusal.Name == client.ErrShuttingDown:
				l.refused = append(l.refused, n)
			default:
				l.failed = append(l.failed, err)
			}
		}
	})
	s.t.Cleanup(l.end)
	return l
}

// end ends the load. From then on its fields may be read.
func (l *load) end() {
	l.stop()
	l.done.Wait()
}

// follow starts osctl-eventctl monitor in the system, from the oldest event on or where
// it stopped before, and returns the file that its output is added to.
func (s *system) follow() (output string) {
	s.t.Helper()
	s.run("systemd-run", "--quiet", "--unit=follow", "--collect", "--property=StandardOutput=append:/mnt/followed", "--property=StandardError=journal",
		"osctl-eventctl", "monitor", "--json", "--since=oldest", "--cursor-file=/var/lib/cursor")
	return filepath.Join(s.Shared(), "followed")
}

// followed is a line of osctl-eventctl monitor --json.
type followed struct {
	Seq  uint64 `json:"seq"`
	Type string `json:"type"`
	Opts struct {
		N uint64 `json:"n"`
	} `json:"opts"`
}

// checkFollowed waits until all that was answered was followed, and wants every number
// once, in order, and every event of the load under the number that it was answered with.
func (l *load) checkFollowed(output string) {
	t := l.s.t
	t.Helper()
	l.end()
	if l.last == 0 {
		t.Fatal("no report was answered")
	}
	var events []followed
	l.s.until("everything is followed", func() bool {
		text, err := os.ReadFile(output)
		must(t, err)
		events = events[:0]
		for line := range strings.Lines(string(text)) {
			var e followed
			if !strings.HasSuffix(line, "\n") {
				break // not whole yet
			}
			must(t, json.Unmarshal([]byte(line), &e))
			events = append(events, e)
		}
		return len(events) > 0 && events[len(events)-1].Seq >= l.answered[l.last]
	})
	seen := map[uint64]uint64{}
	for i, e := range events {
		if e.Seq != events[0].Seq+uint64(i) {
			t.Fatalf("number %d follows %d", e.Seq, events[i-1].Seq)
		}
		if e.Type == "load" {
			if before, twice := seen[e.Opts.N]; twice {
				t.Errorf("event %d of the load is number %d and %d", e.Opts.N, before, e.Seq)
			}
			seen[e.Opts.N] = e.Seq
		}
	}
	for n, seq := range l.answered {
		if seen[n] != seq {
			t.Errorf("event %d of the load was answered with number %d, and is number %d", n, seq, seen[n])
		}
	}
	for _, n := range l.refused {
		if seq, taken := seen[n]; taken {
			t.Errorf("event %d of the load was refused, and is number %d", n, seq)
		}
	}
	t.Logf("%d events followed, %d answered, %d refused, %d without an answer", len(events), len(l.answered), len(l.refused), len(l.failed))
}

// awaitMoreEvents waits until there are some events more.
func (s *system) awaitMoreEvents() {
	const more = 100
	s.t.Helper()
	var first uint64
	s.until("the load goes on", func() bool {
		caller := s.dial()
		defer caller.Close()
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		p, err := caller.Properties(ctx)
		if err != nil {
			return false
		}
		last, _ := p.Get("LastSequence")
		if first == 0 {
			first = last.Uint()
		}
		return last.Uint() >= first+more
	})
}
