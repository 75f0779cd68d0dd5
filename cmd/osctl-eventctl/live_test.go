package main

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// reportStates reports the states of n containers of a pool, from 100 on.
func reportStates(t testing.TB, c *client.Client, pool string, n int) {
	t.Helper()
	states := []string{"running", "running", "stopped", "running", "starting", "error"}
	var batch client.Batch
	for i := range n {
		err := batch.Add(client.Report{Type: hub.TypeState, Options: hub.Options{
			{Name: "pool", Value: hub.String(pool)},
			{Name: "id", Value: hub.String(fmt.Sprint(100 + i))},
			{Name: "state", Value: hub.String(states[i%len(states)])},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.ReportBatch(t.Context(), batch.Take()); err != nil {
		t.Fatal(err)
	}
}

// TestLiveView uses the live view of 1,000 containers with two sizes of the terminal: with keys, with
// changes, and during an outage of the service.
func TestLiveView(t *testing.T) {
	for _, size := range []struct{ width, height int }{{80, 24}, {200, 60}} {
		t.Run(fmt.Sprintf("%dx%d", size.width, size.height), func(t *testing.T) {
			bus, d := startService(t)
			client := d.Client(t)
			reportStates(t, client, "tank", 1000)
			s := onScreen(t, bus, size.width, size.height, "containers", "--watch", "--all")
			lines := s.until(t, "the whole screen", has(size.height-1, `q quit$`))
			rows := size.height - 3
			for y, want := range map[int]string{
				0: `^containers: 1000, 501 running, 167 stopped, 166 error, 166 starting$`,
				1: `^  CONTAINER ↑  STATE +SINCE$`,
				2: `^  tank:100 +running +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`, size.height - 2: fmt.Sprintf("^  tank:%d ", 99+rows), size.height - 1: `q quit$`,
			} {
				if !regexp.MustCompile(want).MatchString(lines[y]) {
					t.Errorf("line %d is %q, want %s", y, lines[y], want)
				}
			}
			before := s.written.Load()
			report(t, client, 1, "state", "pool", "tank", "id", "102", "state", "frozen")
			s.until(t, "a change", has(4, `^\* tank:102 +frozen`))
			if n := s.written.Load() - before; n > 1500 {
				t.Errorf("%d bytes for one change", n)
			}
			report(t, client, 1, "state", "pool", "dozer", "id", "9", "state", "running")
			s.until(t, "one more", has(2, `^\+ dozer:9 `)) // at once, because marks expire
			report(t, client, 1, "db", "object", "container", "pool", "tank", "id", "101", "action", "remove")
			s.until(t, "one less", func(lines []string) bool {
				return !regexp.MustCompile(`(?m)^  tank:101 `).MatchString(strings.Join(lines, "\n"))
			})
			s.keys(t, "/ERR TANK:10") // a number alone could match the time
			s.until(t, "filtered", has(2, `^  tank:105 +error`))
			s.until(t, "how many", has(0, `^containers with "ERR TANK:10": 17, 17 error; of 1000, 501 running`))
			s.until(t, "the prompt", has(size.height-1, `^filter: ERR TANK:10$`))
			s.untilCursor(t, 19, size.height-1)
			s.keys(t, "\x15日本") // ^U, and two wide characters
			s.untilCursor(t, 12, size.height-1)
			s.keys(t, "\x15ERR TANK:10")
			s.untilCursor(t, 19, size.height-1)
			s.keys(t, "\r\x1b[B\x1b[C") // Enter, down, right
			s.until(t, "sorted by state", has(1, `^  CONTAINER +STATE ↑`))
			s.keys(t, "r")
			s.until(t, "reversed", has(1, `^  CONTAINER +STATE ↓`))
			s.keys(t, "\x1b") // Esc
			s.until(t, "unfiltered", has(0, `^containers: 1000`))
			s.keys(t, "g")
			s.until(t, "all are back", has(2, `^. tank:\d+ +stopped`))
			s.keys(t, "G")
			s.until(t, "the last one", has(size.height-2, `^. tank:\d+ +error`))
			s.term.Resize(30, 10) // before the program redraws
			if err := pty.Setsize(s.tty, &pty.Winsize{Rows: 10, Cols: 30}); err != nil {
				t.Fatal(err)
			}
			s.until(t, "a small terminal", has(9, `^↑↓ move`))
			s.until(t, "which column it is sorted by", has(1, `^  CONTAIN…  STATE ↓ +SINCE$`))
			d.Kill()
			s.until(t, "the service is away", has(9, `^osctl-eventd went away`))
			d = startDaemon(t, bus)
			reportStates(t, d.Client(t), "tank", 3)
			s.until(t, "the service is back", has(0, `^containers: 3, 2 running`))
			s.keys(t, "q")
			if code := s.wait(t); code != 0 {
				t.Errorf("status %d", code)
			}
		})
	}
}

// has returns a check for a line of the screen.
func has(y int, want string) func(lines []string) bool {
	re := regexp.MustCompile(want)
	return func(lines []string) bool { return y < len(lines) && re.MatchString(lines[y]) }
}

// TestLiveEnds checks that the view restores the terminal, however it ends.
func TestLiveEnds(t *testing.T) {
	bus, d := startService(t)
	reportStates(t, d.Client(t), "tank", 3)
	for name, end := range map[string]func(s *screen){
		"q":         func(s *screen) { s.keys(t, "q") },
		"^C":        func(s *screen) { s.keys(t, "\x03") },
		"not UTF-8": func(s *screen) { s.keys(t, "\xe9\xffq") },
		"SIGTERM":   func(s *screen) { _ = s.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		s := onScreen(t, bus, 80, 24, "containers", "-w")
		s.untilText(t, "tank:100")
		end(s)
		if code := s.wait(t); code != 0 {
			t.Errorf("%s: status %d", name, code)
		}
		s.until(t, "the screen from before", func(lines []string) bool { return !strings.Contains(strings.Join(lines, ""), "tank") })
	}
	if r := ctl(t, bus.Env(), "list", "--watch"); r.code != 1 || !strings.Contains(r.stderr, "--watch needs a terminal") {
		t.Errorf("in a pipe: %+v", r)
	}
	s := onScreen(t, bus, 80, 24, "list", "--watch", "--bus", "unix:path=/nonexistent")
	if code := s.wait(t); code != 1 {
		t.Errorf("without a bus: status %d", code)
	}
	s.untilText(t, "is the bus running")
}

// TestWatchForgets checks that the view drops the stopped containers that the service drops, for which
// there is no event. Otherwise a view on a busy host would grow for ever.
func TestWatchForgets(t *testing.T) {
	bus, d := startService(t)
	s := onScreen(t, bus, 80, 24, "containers", "--watch", "--all")
	s.until(t, "the empty view", has(0, `^containers: 0$`))
	for i := range 2 * hub.MaxStopped / client.MaxEvents {
		batch := make([]client.Report, client.MaxEvents)
		for j := range batch {
			batch[j] = client.Report{Type: hub.TypeState, Options: hub.Options{
				{Name: "pool", Value: hub.String("tank")}, {Name: "id", Value: hub.String(fmt.Sprintf("%d-%d", i, j))}, {Name: "state", Value: hub.String("stopped")},
			}}
		}
		if _, err := d.Client(t).ReportBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	s.until(t, "those that are kept", has(0, fmt.Sprintf(`^containers: %d, `, hub.MaxStopped)))
}
