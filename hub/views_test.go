package hub

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func stateEvent(tb testing.TB, pool, id, state string) *Event {
	tb.Helper()
	return newEvent(tb, TypeState, opt("pool", pool), opt("id", id), opt("state", state))
}

func dbEvent(tb testing.TB, object, action, pool, id string) *Event {
	tb.Helper()
	return newEvent(tb, TypeDB, opt("object", object), opt("action", action), opt("pool", pool), opt("id", id))
}

func wantContainers(t *testing.T, h *Hub, want ...string) {
	t.Helper()
	rows, cursor := h.Containers()
	var got []string
	for _, row := range rows {
		got = append(got, row.Pool+"/"+row.ID+"="+row.State)
	}
	status := h.Status()
	if !slices.Equal(got, want) || cursor != status.Cursor() || status.Containers != len(want) {
		t.Errorf("containers are %q at %q, want %q at %q", got, cursor, want, status.Cursor())
	}
}

func TestContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		wantContainers(t, h)
		commit(t, h, stateEvent(t, "b", "1", "running"), stateEvent(t, "a", "2", "stopped"), stateEvent(t, "a", "10", "running"))
		wantContainers(t, h, "a/10=running", "a/2=stopped", "b/1=running")
		time.Sleep(time.Minute) // of the bubble's clock
		commit(t, h, stateEvent(t, "a", "2", "starting"), stateEvent(t, "a", "2", "running"), stateEvent(t, "b", "1", "running"))
		wantContainers(t, h, "a/10=running", "a/2=running", "b/1=running")
		wantActive(t, h, 3)
		rows, _ := h.Containers()
		if age := rows[1].Time.Sub(rows[0].Time); age != time.Minute {
			t.Errorf("the changed container is %v younger, want a minute", age)
		}
		if age := rows[2].Time.Sub(rows[0].Time); age != 0 {
			t.Errorf("the container whose state was only repeated is %v younger", age)
		}
		// None of these removes or adds a container.
		commit(t, h, dbEvent(t, "container", "add", "a", "2"), dbEvent(t, "user", "remove", "a", "2"),
			dbEvent(t, "container", "remove", "a", "3"), dbEvent(t, "container", "remove", "c", "2"),
			newEvent(t, "open", opt("pool", "a"), opt("id", "9"), opt("state", "running")), newEvent(t, TypeExit, opt("pool", "a"), opt("id", "2"), opt("exit_type", "halt")))
		wantContainers(t, h, "a/10=running", "a/2=running", "b/1=running")
		commit(t, h, dbEvent(t, "container", "remove", "a", "2"), stateEvent(t, "a", "1", "staged"))
		wantContainers(t, h, "a/1=staged", "a/10=running", "b/1=running")
		commit(t, h, stateEvent(t, "b", "1", "stopped"), stateEvent(t, "b", "1", "stopped"), stateEvent(t, "c", "1", "stopped"))
		wantActive(t, h, 2)
		commit(t, h, dbEvent(t, "container", "remove", "b", "1"), dbEvent(t, "container", "remove", "a", "1"))
		wantActive(t, h, 1)
	})
}

func TestNewStatesDropsKnownStates(t *testing.T) {
	h := newHub(t, Config{})
	commit(t, h, stateEvent(t, "a", "1", "running"), stateEvent(t, "a", "2", "running"))
	first, err := h.Commit(Batch{NewStates: true, Events: []*Event{
		stateEvent(t, "a", "1", "running"), stateEvent(t, "b", "1", "stopped"), dbEvent(t, "container", "add", "a", "1"),
		stateEvent(t, "a", "1", "frozen"), stateEvent(t, "a", "1", "frozen"), stateEvent(t, "a", "1", "running"), stateEvent(t, "a", "2", "stopped"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	sub := subscribe(t, h, Filter{}, FormatCursor(h.Status().Epoch, first-1))
	var events [10]*Event
	n, err := sub.Poll(events[:])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events[:n] {
		got = append(got, e.Type+" "+e.Pool+"/"+e.ID+"="+e.Action)
	}
	want := []string{"db a/1=add", "state a/1=frozen", "state a/1=running", "state a/2=stopped"}
	if !slices.Equal(got, want) || first != 3 {
		t.Errorf("events from %d on %q, want %q", first, got, want)
	}
	wantContainers(t, h, "a/1=running", "a/2=stopped")
}

// wantActive checks the number of containers that are not stopped.
func wantActive(t *testing.T, h *Hub, want int) {
	t.Helper()
	if got := h.Status().Active; got != want {
		t.Errorf("%d containers are active, want %d", got, want)
	}
}

// The revision grows with every change that a list shows, and with nothing else.
func TestInterfacesRevision(t *testing.T) {
	h := newHub(t, Config{})
	last := h.InterfacesRevision()
	put := func(what string, grows bool, changes ...InterfaceChange) {
		t.Helper()
		if _, err := h.Commit(Batch{Interfaces: changes, Place: what}); err != nil {
			t.Fatal(err)
		}
		if got := h.InterfacesRevision(); (got > last) != grows || got < last {
			t.Errorf("%s: revision is %d after %d, want growth %v", what, got, last, grows)
		}
		last = h.InterfacesRevision()
	}
	row := Interface{Ifindex: 9, Veth: "veth9", State: LinkUp, Since: time.UnixMicro(5)}
	put("new", true, InterfaceChange{Interface: row})
	put("the same", false, InterfaceChange{Interface: row})
	row.Since = row.Since.UTC()
	put("the same instant", false, InterfaceChange{Interface: row})
	row.Announced, row.BoundBy, row.BoundPeer, row.Kept = true, "uid:0", 7, true
	put("unlisted fields", false, InterfaceChange{Interface: row})
	row.State = LinkDown
	put("down", true, InterfaceChange{Interface: row})
	row.Since = time.UnixMicro(6)
	put("another since", true, InterfaceChange{Interface: row})
	put("unknown interface removed", false, InterfaceChange{Interface: Interface{Ifindex: 1}, Removed: true})
	put("removed", true, InterfaceChange{Interface: row, Removed: true})
	if _, err := h.Commit(Batch{Events: []*Event{stateEvent(t, "a", "1", "running")}}); err != nil || h.InterfacesRevision() != last {
		t.Errorf("an event moved the revision to %d from %d, %v", h.InterfacesRevision(), last, err)
	}
}

// Each change of the status or a counter leaves a token.
func TestChanged(t *testing.T) {
	h := newHub(t, Config{History: 1})
	s := subscribe(t, h, Filter{}, "")
	want := func(what string, tokens int) {
		t.Helper()
		if got := len(h.Changed()); got != tokens {
			t.Errorf("%s: %d tokens, want %d", what, got, tokens)
		}
		for len(h.Changed()) > 0 {
			<-h.Changed()
		}
	}
	want("nothing", 0)
	fill(t, h, 3)
	want("events", 1)
	wantLapped(t, s, 1, 2)
	want("lapped subscriber", 1)
	h.Count(CounterRefused, 1)
	want("a counter", 1)
	h.Status()
	h.Counters()
	want("reading", 0)
	s.Skip()
	want("skip", 1)
}

func TestContainersAreBounded(t *testing.T) {
	h := newHub(t, Config{})
	for i := range MaxContainers { // without NewEvent, for speed
		commit(t, h, &Event{Type: TypeState, Pool: "p", ID: strconv.Itoa(i), Action: "running"})
	}
	commit(t, h, stateEvent(t, "p", "0", "stopped")) // now 1 is the oldest
	commit(t, h, stateEvent(t, "p", "new", "running"))
	rows, _ := h.Containers()
	seen := map[string]bool{}
	for _, row := range rows {
		seen[row.ID] = true
	}
	if len(rows) != MaxContainers || seen["1"] || !seen["0"] || !seen["2"] || !seen["new"] {
		t.Errorf("keeps %d containers, 0: %v, 1: %v, 2: %v, new: %v", len(rows), seen["0"], seen["1"], seen["2"], seen["new"])
	}
	if h.views.byAge.Len() != MaxContainers {
		t.Errorf("the list by age has %d containers", h.views.byAge.Len())
	}
}

// The view keeps the containers that stopped last, also after a restart from a snapshot.
func TestStoppedAreBounded(t *testing.T) {
	h := newHub(t, Config{})
	commit(t, h, stateEvent(t, "p", "runs", "running"))
	for i := range MaxStopped + 2 {
		commit(t, h, stateEvent(t, "p", strconv.Itoa(i), "stopped"))
	}
	commit(t, h, stateEvent(t, "p", "2", "running"), stateEvent(t, "p", "2", "stopped"), stateEvent(t, "p", "new", "stopped")) // now 3 was the oldest
	want := func(v *views) {
		t.Helper()
		if v.stopped != MaxStopped || len(v.containers) != MaxStopped+1 || v.byAge.Len() != MaxStopped+1 || v.active != 1 {
			t.Errorf("%d stopped of %d containers", v.stopped, len(v.containers))
		}
		for id, kept := range map[string]bool{"runs": true, "0": false, "1": false, "2": true, "3": false, "4": true, "new": true} {
			if (v.containers[containerKey{"p", id}] != nil) != kept {
				t.Errorf("%s is there: %v, want %v", id, !kept, kept)
			}
		}
	}
	want(&h.views)
	parts := h.views.parts()
	snapshots := make([]*snapshot, len(parts))
	for i := range parts {
		snapshots[i] = &parts[i]
	}
	restored := newViews()
	restored.restore(snapshots)
	want(&restored)
	if first, _ := restored.oldestStopped().Value.(*Container); first.ID != "4" {
		t.Errorf("the oldest restored container is %s, want 4", first.ID)
	}
	commit(t, h, dbEvent(t, "container", "remove", "p", "4"))
	if h.views.stopped != MaxStopped-1 {
		t.Error("a removed container still counts as stopped")
	}
}

// Stopped containers of a user do not push out those of the system.
func TestStoppedOfUsers(t *testing.T) {
	h := newHub(t, Config{})
	commit(t, h, stateEvent(t, "lxc", "web", "stopped"))
	for i := range MaxStopped + 1 {
		commit(t, h, stateEvent(t, "lxc@1000", strconv.Itoa(i), "stopped"))
	}
	for name, kept := range map[containerKey]bool{{"lxc", "web"}: true, {"lxc@1000", "0"}: false, {"lxc@1000", "1"}: false, {"lxc@1000", "2"}: true} {
		if (h.views.containers[name] != nil) != kept {
			t.Errorf("%v is there: %v, want %v", name, !kept, kept)
		}
	}
}

// The memory of all rows is bounded, too.
func TestContainersAreBoundedByBytes(t *testing.T) {
	h := newHub(t, Config{HistoryBytes: 1})
	ids := make([]string, 10)
	for i := range ids {
		ids[i] = strings.Repeat("x", 3<<20) + strconv.Itoa(i)
	}
	for i := range ids {
		commit(t, h, stateEvent(t, "p", ids[i], "running"), stateEvent(t, "p", ids[i], "stopped"))
		size := 0
		rows, _ := h.Containers()
		for _, row := range rows {
			size += row.size()
		}
		if size != h.views.bytes || size > maxContainerBytes || len(rows) != h.views.byAge.Len() {
			t.Fatalf("%d containers of %d bytes, counted as %d", len(rows), size, h.views.bytes)
		}
	}
	rows, _ := h.Containers()
	if len(rows) != 7 || rows[0].ID != ids[3] || rows[6].ID != ids[9] {
		t.Errorf("keeps %d containers, want the last 7", len(rows))
	}
	commit(t, h, dbEvent(t, "container", "remove", "p", ids[8]), stateEvent(t, "p", "small", "running"), stateEvent(t, "p", "large", strings.Repeat("y", 25<<20)))
	if rows, _ := h.Containers(); len(rows) != 0 || h.views.bytes != 0 {
		t.Errorf("after a container beyond the limit there are %d containers, %d bytes, want none", len(rows), h.views.bytes)
	}
}

func TestInterfaces(t *testing.T) {
	h := newHub(t, Config{})
	put := func(changes ...InterfaceChange) {
		t.Helper()
		if _, err := h.Commit(Batch{Interfaces: changes}); err != nil {
			t.Fatal(err)
		}
	}
	a := Interface{Ifindex: 9, Veth: "veth9", Name: "eth0", Pool: "p", ID: "1", State: LinkUp}
	b := Interface{Ifindex: 4, Veth: "veth4", State: LinkNoCarrier}
	put(InterfaceChange{Interface: a}, InterfaceChange{Interface: b}, InterfaceChange{Interface: Interface{Ifindex: 1}, Removed: true})
	rows, cursor := h.Interfaces()
	if !slices.Equal(rows, []Interface{b, a}) || cursor != h.Status().Epoch+":0" || h.Status().Interfaces != 2 {
		t.Errorf("interfaces are %+v at %q", rows, cursor)
	}
	rows[0].Veth = "changed"
	a.State = LinkDown
	fill(t, h, 2)
	put(InterfaceChange{Interface: a}, InterfaceChange{Interface: Interface{Ifindex: 4}, Removed: true}, InterfaceChange{Interface: b})
	if rows, cursor := h.Interfaces(); !slices.Equal(rows, []Interface{b, a}) || cursor != h.Status().Epoch+":2" {
		t.Errorf("interfaces are %+v at %q", rows, cursor)
	}
	put(InterfaceChange{Interface: Interface{Ifindex: 4}, Removed: true})
	if rows, _ := h.Interfaces(); !slices.Equal(rows, []Interface{a}) {
		t.Errorf("interfaces are %+v", rows)
	}
}

func TestCounters(t *testing.T) {
	h := newHub(t, Config{})
	for _, name := range []string{CounterLapped, CounterRefused, CounterResyncs, CounterOverruns} {
		if n, ok := h.Counters()[name]; n != 0 || !ok {
			t.Errorf("%s is %d at the start, there: %v", name, n, ok)
		}
	}
	for i := range maxCounters + 3 {
		commit(t, h, newEvent(t, fmt.Sprintf("t%d", i)), newEvent(t, "t0"))
	}
	h.Count(CounterRefused, 2)
	h.Count(CounterRefused, 3)
	got := h.Counters()
	if got["events_t0"] != maxCounters+4 || got["events_t127"] != 1 || got["events_t128"] != 0 || got["events_other"] != 3 || got[CounterRefused] != 5 {
		t.Errorf("counters are %v", got)
	}
	for i := range 2 * maxCounters {
		h.Count(fmt.Sprintf("n%d", i), 1)
	}
	h.Count(CounterRefused, 1)
	if got := h.Counters(); len(got) != 2*maxCounters || got[CounterRefused] != 6 {
		t.Errorf("%d counters, want %d", len(got), 2*maxCounters)
	}
}
