package top

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"
	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// simulation is a view on a simulated screen.
type simulation struct {
	t      *testing.T
	screen *simulatedScreen
	state  *State
	ended  chan error
}

// simulate runs a view of a state on a simulated screen.
func simulate(t *testing.T, state *State, width, height int, colour bool, fetch Fetch) *simulation {
	t.Helper()
	s := &simulation{t: t, state: state, ended: make(chan error, 1)}
	s.screen = &simulatedScreen{SimulationScreen: tcell.NewSimulationScreen("UTF-8"), width: width, height: height}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { s.ended <- New(state, fetch, colour).Run(ctx, s.screen) }()
	t.Cleanup(func() {
		cancel()
		<-s.ended
	})
	s.until("the keys", "q quit")
	return s
}

// simulatedScreen has a size from the start, and keeps the last picture for other goroutines.
type simulatedScreen struct {
	tcell.SimulationScreen
	width, height int

	mu    sync.Mutex
	cells []tcell.SimCell
	wide  int
}

// Init initializes the screen with its size.
func (s *simulatedScreen) Init() error {
	err := s.SimulationScreen.Init()
	s.SetSize(s.width, s.height)
	return err
}

// Show shows and keeps a picture.
func (s *simulatedScreen) Show() {
	s.SimulationScreen.Show()
	cells, width, _ := s.GetContents()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cells, s.wide = slices.Clone(cells), width
}

// picture returns the last picture and its width.
func (s *simulatedScreen) picture() ([]tcell.SimCell, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cells, s.wide
}

// text returns the text on the screen.
func (s *simulation) text() string {
	cells, width := s.screen.picture()
	var b strings.Builder
	for i, c := range cells {
		if len(c.Runes) > 0 {
			b.WriteString(string(c.Runes))
		} else {
			b.WriteByte(' ')
		}
		if i%width == width-1 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// until waits until a text is on the screen, and returns the screen.
func (s *simulation) until(what, text string) string {
	s.t.Helper()
	return s.untilTrue(what, func(screen string) bool { return strings.Contains(screen, text) })
}

func (s *simulation) untilTrue(what string, ok func(string) bool) string {
	s.t.Helper()
	for deadline := time.Now().Add(apitest.Patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if now := s.text(); ok(now) {
			return now
		}
	}
	s.t.Fatalf("timed out waiting for %s; the screen is\n%s", what, s.text())
	return ""
}

func (s *simulation) keys(keys string) {
	for _, r := range keys {
		s.screen.InjectKey(tcell.KeyRune, r, tcell.ModNone)
	}
}

func (s *simulation) key(key tcell.Key) { s.screen.InjectKey(key, 0, tcell.ModNone) }

func options(pairs ...string) (all hub.Options) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, hub.Option{Name: pairs[i], Value: hub.String(pairs[i+1])})
	}
	return all
}

func event(seq uint64, id, state string) *hub.Event {
	return &hub.Event{
		Type: "state", Action: state, Pool: "tank", ID: id, Source: "uid:0", Seq: seq, Time: time.Now(),
		Options: options("pool", "tank", "id", id, "state", state),
	}
}

// setRows sets the rows of a state, without a sample of the rates.
func setRows(s *State, links []hub.Interface, containers []hub.Container) {
	s.Set(links, containers, nil, time.Time{})
}

// exampleState returns a state with rows of all kinds.
func exampleState() *State {
	s := NewState(time.Now())
	setRows(s, []hub.Interface{
		{Ifindex: 1, Veth: "veth9", Name: "eth0", Pool: "tank", ID: "9", State: hub.LinkUp},
		{Ifindex: 2, Veth: "veth10", Name: "eth0", Pool: "tank", ID: "10", State: hub.LinkUp},
		{Ifindex: 3, Veth: "veth101", Name: "eth0", Pool: "tank", ID: "101", State: "no-carrier", Since: time.Now().Add(-90 * time.Minute)},
		{Ifindex: 4, Veth: "vethx", State: hub.LinkUp},
	}, []hub.Container{
		{Pool: "tank", ID: "9", State: "running"},
		{Pool: "tank", ID: "50", State: "error"},
		{Pool: "tank", ID: "51", State: "stopped"},
		{Pool: "docker", ID: strings.Repeat("ab", 32), State: "running", Name: "web"},
		{Pool: "docker", ID: strings.Repeat("cd", 32), State: "running"},
		{Pool: "docker", ID: strings.Repeat("ef", 32), Name: "nothing but a name"},
	})
	s.AddEvents([]*hub.Event{event(1, "9", "running"), event(2, "50", "error")})
	return s
}

func noHistory(context.Context, Row) ([]Event, error) { return nil, nil }

// inOrder reports whether texts are on the screen in this order.
func inOrder(screen string, texts ...string) bool {
	at := 0
	for _, text := range texts {
		i := strings.Index(screen[at:], text)
		if i < 0 {
			return false
		}
		at += i + len(text)
	}
	return true
}

func TestTroubleFirst(t *testing.T) {
	s := simulate(t, exampleState(), 80, 24, true, noHistory)
	screen := s.until("all rows", "tank:9 ")
	if !inOrder(screen, "tank:50", "error", "tank:101", "no-carrier", "1h30m", "vethx", "docker:web", "docker:cdcdcdcdcdcd ", "tank:9", "tank:10") || strings.Contains(screen, "tank:51") || strings.Contains(screen, "nothing") {
		t.Errorf("the rows are\n%s", screen)
	}
	if !inOrder(screen, "Events, newest", "tank:50", "tank:9") {
		t.Errorf("the events are\n%s", screen)
	}
	s.keys("t")
	s.untilTrue("only trouble", func(screen string) bool {
		return strings.Contains(screen, "only trouble") && !strings.Contains(screen, "veth10 ")
	})
	s.key(tcell.KeyEscape)
	s.until("all again", "veth10 ")
	s.keys("/VETH101")
	s.untilTrue("those with the text", func(screen string) bool {
		return strings.Contains(screen, "filter: VETH101") && strings.Contains(screen, "tank:101") && !strings.Contains(screen, "vethx")
	})
	s.key(tcell.KeyEscape)
	s.until("all again", "vethx")
}

func TestHealth(t *testing.T) {
	state := exampleState()
	s := simulate(t, state, 200, 60, true, noHistory)
	properties := func(durable bool, problem string, seq uint64, counters ...any) hub.Options {
		items := []hub.Value{}
		for i := 0; i < len(counters); i += 2 {
			items = append(items, hub.String(counters[i].(string)), hub.Uint64(uint64(counters[i+1].(int))))
		}
		return hub.Options{
			{Name: "Version", Value: hub.String("1.2.3")},
			{Name: "Durable", Value: hub.Bool(durable)},
			{Name: "LogProblem", Value: hub.String(problem)},
			{Name: "LastSequence", Value: hub.Uint64(seq)},
			{Name: "Missing", Value: hub.Strings("CAP_NET_BROADCAST: no renames")},
			{Name: "Counters", Value: hub.Dict("s", "t", items)},
		}
	}
	now := time.Now()
	state.Set(nil, nil, properties(true, "", 10, "events_state", 5), now)
	s.until("well", "osctl-eventd 1.2.3 · live · durable · missing CAP_NET_BROADCAST: no renames")
	state.Set(nil, nil, properties(false, "no space", 20, "events_state", 9, "events_db", 1, "lapped", 3), now.Add(time.Second))
	s.until("not well", "live · NOT DURABLE: no space · 3 signals lost")
	screen := s.until("the rates", "state               4.0/s █")
	if !inOrder(screen, "state ", "db                  1.0/s █") {
		t.Errorf("the rates are\n%s", screen)
	}
	state.SetOutage("osctl-eventd went away")
	screen = s.until("away", "osctl-eventd went away")
	if strings.Contains(screen, "DURABLE") || strings.Contains(screen, "missing") {
		t.Errorf("the screen shows the health of a service that is away:\n%s", screen)
	}
	state.SetOutage("")
	state.AddGap(12)
	s.until("lost", "-- lost 12 events --")
	s.until("and counted", "· 12 events not seen")
	s.keys("p")
	s.until("paused", "PAUSED, 0 new")
	state.AddEvents([]*hub.Event{event(3, "777", "running")})
	state.Set(nil, nil, properties(true, "", 27), now.Add(2*time.Second))
	screen = s.until("how many there are", "PAUSED, 7 new")
	if strings.Contains(screen, "tank:777") {
		t.Errorf("an event came while the view was paused:\n%s", screen)
	}
	s.keys("p")
	s.until("the event", "tank:777")
}

func TestHistory(t *testing.T) {
	state := exampleState()
	asked := make(chan Row, 1)
	s := simulate(t, state, 80, 24, false, func(_ context.Context, row Row) ([]Event, error) {
		asked <- row
		return []Event{{Pool: "tank", ID: "101", Text: "an old event"}}, nil
	})
	s.until("the rows", "tank:101")
	s.key(tcell.KeyDown)
	s.key(tcell.KeyEnter)
	screen := s.until("its history", "an old event")
	if row := <-asked; row.ID != "101" || !strings.Contains(screen, "Events of tank:101") || strings.Contains(strings.Split(screen, "Events of")[1], "tank:9") {
		t.Errorf("the history of %+v is\n%s", row, screen)
	}
	state.AddEvents([]*hub.Event{event(4, "101", "frozen"), event(5, "9", "frozen")})
	screen = s.until("what comes", "state frozen")
	if !inOrder(strings.Split(screen, "Events of")[1], "frozen", "an old event") || strings.Contains(strings.Split(screen, "Events of")[1], "tank:9") {
		t.Errorf("the history is\n%s", screen)
	}
	s.keys("y")
	s.until("the command", "copied: osctl-eventctl monitor --since oldest tank:101")
	s.key(tcell.KeyEscape)
	s.until("all events", "Events, newest first")
	s.keys("q")
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s.ended <- nil
}

// TestHistoryOnce checks that an event that comes while the history is fetched is shown once, and that
// another epoch, which numbers its events anew, is shown.
func TestHistoryOnce(t *testing.T) {
	state := exampleState()
	s := simulate(t, state, 80, 40, false, func(context.Context, Row) ([]Event, error) {
		e := []*hub.Event{event(4, "101", "frozen"), event(5, "101", "thawed")}
		state.AddEvents(e)
		return state.Format(e), nil
	})
	s.until("the rows", "tank:101")
	s.key(tcell.KeyDown)
	s.key(tcell.KeyEnter)
	s.until("its history", "state frozen")
	state.AddEvents([]*hub.Event{event(6, "101", "running")})
	state.AddGap(0)
	state.AddEvents([]*hub.Event{event(1, "101", "stopped")})
	screen := s.until("what comes", "state stopped")
	if strings.Count(screen, "state frozen") != 1 || strings.Count(screen, "state thawed") != 1 || strings.Count(screen, "state running") != 1 {
		t.Errorf("the history is\n%s", screen)
	}
}

// TestHistoryLeft leaves a history that is still being fetched, as of a service that hangs.
func TestHistoryLeft(t *testing.T) {
	left := make(chan struct{})
	s := simulate(t, exampleState(), 80, 24, false, func(ctx context.Context, _ Row) ([]Event, error) {
		<-ctx.Done()
		close(left)
		return nil, ctx.Err()
	})
	s.until("the rows", "tank:101")
	s.key(tcell.KeyEnter)
	s.until("it is being fetched", "Events of tank:50, newest first; Esc shows all; loading")
	s.key(tcell.KeyEscape)
	screen := s.until("all events", "Events, newest first")
	apitest.Await(t, "the end of the fetch", left)
	if strings.Contains(screen, "cannot read") {
		t.Errorf("the screen is\n%s", screen)
	}
}

// TestNoColour checks that a view without colours draws none.
func TestNoColour(t *testing.T) {
	for _, colour := range []bool{true, false} {
		s := simulate(t, exampleState(), 80, 24, colour, noHistory)
		s.until("the rows", "no-carrier")
		colours := false
		cells, _ := s.screen.picture()
		for _, c := range cells {
			fg, bg, _ := c.Style.Decompose()
			colours = colours || fg != tcell.ColorDefault || bg != tcell.ColorDefault
		}
		if colours != colour {
			t.Errorf("colour is %t, but the screen has colours: %t", colour, colours)
		}
	}
}

// TestHostileNames checks that names of containers are shown as text without control characters.
func TestHostileNames(t *testing.T) {
	state := NewState(time.Now())
	evil := "[red]x\x1b[2J\u202e\n[::b]"
	setRows(state, []hub.Interface{{Ifindex: 1, Veth: evil, Name: evil, Pool: evil, ID: evil, State: hub.LinkState(evil)}}, nil)
	state.AddEvents([]*hub.Event{{Type: "state", Action: evil, Pool: evil, ID: evil, Source: evil, Seq: 1, Options: options("pool", evil)}})
	s := simulate(t, state, 200, 30, true, noHistory)
	const shown = `[red]x\x1b[2J\u202e\n[::b]`
	screen := s.untilTrue("the name as it is, in both tables", func(screen string) bool {
		rows, events, _ := strings.Cut(screen, "Events,")
		return strings.Count(rows, shown) >= 3 && strings.Contains(events, "state "+shown)
	})
	if strings.ContainsAny(strings.ReplaceAll(screen, "\n", ""), "\x1b\u202e") || strings.Count(screen, "\n") != 30 {
		t.Errorf("the screen is\n%q", screen)
	}
	s.keys("y")
	s.until("the command", `--pool='[red]x\x1b[2J\u202e\n[::b]'`)
}

// TestManyRows shows 2,000 rows, and keeps the selected one selected when it changes.
func TestManyRows(t *testing.T) {
	state := NewState(time.Now())
	links := make([]hub.Interface, 2000)
	for i := range links {
		links[i] = hub.Interface{Ifindex: uint32(i), Veth: fmt.Sprintf("v%d", i), Pool: "tank", ID: fmt.Sprint(i), State: hub.LinkUp}
	}
	setRows(state, links, nil)
	s := simulate(t, state, 80, 24, true, noHistory)
	s.until("how many", "Interfaces and containers: 2000, in trouble 0")
	s.key(tcell.KeyEnd)
	s.until("the last one", "tank:1999")
	changed := append([]hub.Interface(nil), links...)
	changed[1999].State = "down"
	setRows(state, changed, nil)
	s.until("the selected row stays selected", "in trouble 1")
	s.key(tcell.KeyEnter)
	s.until("its history", "Events of tank:1999")
}

// TestFill checks that the newest events and new trouble stay visible when the tables are full.
func TestFill(t *testing.T) {
	state := NewState(time.Now())
	s := simulate(t, state, 80, 24, true, noHistory)
	var links []hub.Interface
	for i := range 50 {
		id := fmt.Sprint(100 + i)
		links = append(links, hub.Interface{Ifindex: uint32(i), Veth: "v" + id, Pool: "tank", ID: id, State: hub.LinkUp})
		setRows(state, slices.Clone(links), nil)
		state.AddEvents([]*hub.Event{event(uint64(i), id, "running")})
		s.untilTrue("the newest event", func(screen string) bool {
			_, events, _ := strings.Cut(screen, "Events,")
			return strings.Contains(events, "tank:"+id)
		})
	}
	links[49].State = "down"
	setRows(state, links, nil)
	s.untilTrue("trouble on top", func(screen string) bool { return inOrder(screen, "CONTAINER", "tank:149", "tank:100") })
}

// TestResize checks that the view draws the whole screen in any size.
func TestResize(t *testing.T) {
	s := simulate(t, exampleState(), 80, 24, true, noHistory)
	for _, size := range [][2]int{{200, 60}, {20, 5}, {1, 1}, {80, 24}} {
		s.screen.SetSize(size[0], size[1])
		if err := s.screen.PostEvent(tcell.NewEventResize(size[0], size[1])); err != nil {
			t.Fatal(err)
		}
		if size[0] >= 80 {
			s.untilTrue("the whole screen", func(screen string) bool {
				lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
				return len(lines) == size[1] && strings.Contains(lines[0], "osctl-eventd") && strings.Contains(lines[size[1]-1], "q quit")
			})
		}
	}
}

// TestBounded checks that a state keeps the newest events only.
func TestBounded(t *testing.T) {
	s := NewState(time.Now())
	for i := range uint64(10 * maxEvents) {
		s.AddEvents([]*hub.Event{event(i, fmt.Sprint(i), "running")})
	}
	if n := len(s.events); n >= 2*maxEvents {
		t.Errorf("the state holds %d events", n)
	}
	snap := s.Snapshot()
	if len(snap.Events) != maxEvents || snap.Events[maxEvents-1].ID != fmt.Sprint(10*maxEvents-1) || snap.Added != 10*maxEvents {
		t.Errorf("%d events of %d, the last is %+v", len(snap.Events), snap.Added, snap.Events[len(snap.Events)-1])
	}
}

func TestRates(t *testing.T) {
	var r Rates
	now := time.Now()
	r.Sample(map[string]uint64{"events_x": 10, "lapped": 7}, 1, now)
	r.Sample(map[string]uint64{"events_x": 14, "events_y": 2}, 1, now.Add(2*time.Second))
	r.Sample(map[string]uint64{"events_x": 3}, 2, now.Add(3*time.Second)) // after a restart
	r.Sample(map[string]uint64{"events_x": 5}, 3, now.Add(4*time.Second))
	if got := fmt.Sprint(r.Series()); got != "[{x [2 3 5]} {y [1 0 0]}]" {
		t.Errorf("the rates are %s", got)
	}
	if got := sparkline([]float64{0, 1, 50, 100}, 100); got != " ▁▅█" {
		t.Errorf("the sparkline is %q", got)
	}
	for i := range 2 * maxSamples {
		r.Sample(map[string]uint64{"events_x": uint64(i)}, 3, now.Add(time.Duration(5+i)*time.Second))
	}
	if n := len(r.Series()[0].Rate); n != maxSamples {
		t.Errorf("%d samples", n)
	}
}

func TestCommand(t *testing.T) {
	for want, row := range map[string]Row{
		"tank:101":                  {Pool: "tank", ID: "101"},
		"--veth=v1":                 {Veth: "v1"},
		"--pool=a:b --id=1":         {Pool: "a:b", ID: "1"},
		"--pool=-x --id='; reboot'": {Pool: "-x", ID: "; reboot"},
		`'tank:it'\''s'`:            {Pool: "tank", ID: "it's"},
		`--pool=tank --id=a/b`:      {Pool: "tank", ID: "a/b"},
	} {
		if got := row.command(); got != "osctl-eventctl monitor --since oldest "+want {
			t.Errorf("%+v: %s", row, got)
		}
	}
}

// TestHistoryNeverStarts checks that a history does not start a service that was stopped.
func TestHistoryNeverStarts(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	service := fmt.Sprintf("[D-BUS Service]\nName=org.osctl.Eventd\nExec=/usr/bin/touch %s\nUser=root\n", started)
	if err := os.WriteFile(filepath.Join(dir, "org.osctl.Eventd.service"), []byte(service), 0o600); err != nil {
		t.Fatal(err)
	}
	bus := bustest.Start(t, bustest.Daemon, fmt.Sprintf("<busconfig><servicedir>%s</servicedir>%s</busconfig>", dir, bustest.PolicyOpen))
	f := Feed{State: NewState(time.Now()), Address: bus.Address()}
	if _, err := f.History(t.Context(), Row{Pool: "tank", ID: "1"}); err == nil {
		t.Error("there is a history without a service")
	}
	if _, err := os.Stat(started); err == nil {
		t.Error("the bus started the service")
	}
}
