package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func infoEvent(tb testing.TB, id, name, image string) *Event {
	tb.Helper()
	return newEvent(tb, TypeInfo, opt("pool", "docker"), opt("id", id), opt("name", name), opt("image", image))
}

// wantNames checks the containers, as ID=NAME(IMAGE).
func wantNames(t *testing.T, h *Hub, want ...string) {
	t.Helper()
	rows, _ := h.Containers()
	var got []string
	named := 0
	for _, row := range rows {
		got = append(got, fmt.Sprintf("%s=%s(%s)", row.ID, row.Name, row.Image))
		if row.Name != "" {
			named++
		}
	}
	if !slices.Equal(got, want) || len(h.views.names) != named {
		t.Errorf("containers are %q, with %d names kept, want %q", got, len(h.views.names), want)
	}
}

// wantEventNames checks the names of the newest events.
func wantEventNames(t *testing.T, h *Hub, want ...string) {
	t.Helper()
	buf := make([]*Event, len(want))
	n, err := subscribe(t, h, Filter{}, fmt.Sprintf("%s%d", CursorNewest, len(want))).Poll(buf)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range buf[:n] {
		got = append(got, e.Options.Text(OptionName))
		if name, _ := e.Options.Get(OptionName); e.keys[keyCtName] != name.text {
			t.Errorf("event %d: filters see the name %q of %q", e.Seq, e.keys[keyCtName], name.text)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("events have the names %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	up := func(id string) *Event {
		return newEvent(t, TypeNetif, opt("pool", "docker"), opt("id", id), opt("action", "up"), opt("name", "eth0"))
	}
	commit(t, h, up("a"), infoEvent(t, "a", "web", "nginx:1"), up("a"), stateEvent(t, "docker", "a", "running"), stateEvent(t, "podman", "a", "running"))
	wantNames(t, h, "a=web(nginx:1)", "a=()")
	wantEventNames(t, h, "", "", "web", "web", "")
	wantActive(t, h, 2)
	// A name belongs to the container that got it last, also within a batch.
	commit(t, h, up("a"), infoEvent(t, "b", "web", "nginx:2"), up("a"), up("b"))
	wantNames(t, h, "a=(nginx:1)", "b=web(nginx:2)", "a=()")
	wantEventNames(t, h, "web", "", "", "web")
	wantActive(t, h, 2) // the state of b is not known
	// Renames, a name taken over, and a removal, in one batch.
	commit(t, h, infoEvent(t, "b", "old", ""), infoEvent(t, "a", "web", ""), up("a"), up("b"),
		dbEvent(t, "container", "remove", "docker", "b"), up("b"))
	wantEventNames(t, h, "", "", "web", "old", "", "")
	wantNames(t, h, "a=web()", "a=()")
	// The hub keeps a name that the reporter set.
	commit(t, h, newEvent(t, TypeState, opt("pool", "docker"), opt("id", "a"), opt("state", "stopped"), opt("ct_name", "mine")), about(t, TypeExit+"x", "a"))
	wantEventNames(t, h, "mine", "")
	// A restart restores the names, first from the events, then from a snapshot.
	for range 2 {
		h = reopen(t, log)
		wantEventNames(t, h, "web", "", "web", "", "", "web", "", "", "web", "old", "", "", "mine", "")
		wantNames(t, h, "a=web()", "a=()")
		rows := h.snapshotRecords()
		if err := log.current.Rotate(rows); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, h, up("a"), dbEvent(t, "container", "remove", "docker", "a"))
	wantEventNames(t, h, "web", "")
	wantNames(t, h, "a=()")
}

// Interfaces show the name of their container, and a change of it moves the revision.
func TestNamesOfInterfaces(t *testing.T) {
	h := newHub(t, Config{})
	row := Interface{Ifindex: 3, Veth: "veth3", Pool: "docker", ID: "a", State: LinkUp, ContainerName: "x", Image: "y"}
	if _, err := h.Commit(Batch{Interfaces: []InterfaceChange{{Interface: row}}}); err != nil {
		t.Fatal(err)
	}
	revision := h.InterfacesRevision()
	want := func(name, image string, grows bool) {
		t.Helper()
		rows, _ := h.Interfaces()
		if len(rows) != 1 || rows[0].ContainerName != name || rows[0].Image != image {
			t.Errorf("interfaces are %+v, want %s, %s", rows, name, image)
		}
		if now := h.InterfacesRevision(); now > revision != grows {
			t.Errorf("revision is %d after %d", now, revision)
		}
		revision = h.InterfacesRevision()
	}
	want("", "", false)
	commit(t, h, infoEvent(t, "a", "web", "nginx"))
	want("web", "nginx", true)
	commit(t, h, infoEvent(t, "a", "web", "nginx"))
	want("web", "nginx", false)
	commit(t, h, dbEvent(t, "container", "remove", "docker", "a"))
	want("", "", true)
}

// A name does not make an event exceed its limits.
func TestNamesAtLimits(t *testing.T) {
	h := newHub(t, Config{})
	name := strings.Repeat("n", MaxNameBytes)
	commit(t, h, infoEvent(t, "a", name, ""))
	more := func(options int, size int) *Event {
		e := opts("pool", "docker", "id", "a", "state", "running")
		for len(e) < options {
			e = append(e, opt(fmt.Sprint("o", len(e)), ""))
		}
		e[len(e)-1].Value = String(strings.Repeat("x", size))
		return newEvent(t, TypeState, e...)
	}
	commit(t, h, more(MaxOptions-1, 0), more(MaxOptions, 0), more(4, MaxEncoded-2048), more(4, MaxEncoded-MaxNameBytes))
	wantEventNames(t, h, name, "", name, "")
	wantInvalid(t, TypeInfo, opts("pool", "p", "id", "1", "name", name+"n"),
		InvalidEventError{TypeInfo, "name", fmt.Sprintf("%q", clip(name+"n")), "a string (s) of 1 to 512 bytes"})
}

// Names are dropped with their rows.
func TestNamesAreBounded(t *testing.T) {
	h := newHub(t, Config{HistoryBytes: 1})
	image := strings.Repeat("i", MaxImageBytes)
	for i := range maxContainerBytes/MaxImageBytes + 100 {
		commit(t, h, infoEvent(t, fmt.Sprint(i), fmt.Sprint("name", i), image))
	}
	rows, _ := h.Containers()
	size := 0
	for _, row := range rows {
		size += row.size()
	}
	if size != h.views.bytes || size > maxContainerBytes || len(h.views.names) != len(rows) || len(rows) < maxContainerBytes/MaxImageBytes/2 {
		t.Errorf("%d containers of %d bytes, counted as %d, %d names", len(rows), size, h.views.bytes, len(h.views.names))
	}
}
