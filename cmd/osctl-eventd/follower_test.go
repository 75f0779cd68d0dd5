package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// follower reads all interface events of the watcher, from the oldest on. It owns a pair of veths
// on the host, both ends down. Renaming one of them makes a marker: the event of that rename
// comes after all events that the kernel sent before.
type follower struct {
	t      testing.TB
	daemon *daemonProcess
	client *client.Client
	filter hub.Filter
	cursor string
	events []*hub.Event // read, but not expected by a step yet
	ip     func(args ...string) error
	marks  int
}

func follow(t testing.TB, d *daemonProcess, exec func(name string, args ...string) (string, error)) *follower {
	t.Helper()
	a := &follower{t: t, daemon: d, client: d.Client(t), cursor: hub.CursorOldest}
	a.ip = func(args ...string) error {
		_, err := exec("ip", args...)
		return err
	}
	var err error
	a.filter, err = typeFilter(t, hub.TypeNetif).With("source", hub.SourceNetlink)
	must(t, err)
	must(t, a.ip("link", "add", a.mark(), "type", "veth", "peer", "name", "marker"))
	return a
}

func (a *follower) mark() string { return "mark" + strconv.Itoa(a.marks) }

// readUntil reads events until enough returns true. It returns false after patience.
func (a *follower) readUntil(enough func() bool) bool {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	for !enough() {
		next, events, err := a.client.WaitEvents(ctx, a.cursor, a.filter, 0, patience)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			a.t.Fatalf("%v; the daemon %s", err, a.daemon.processState())
		}
		a.cursor, a.events = next, append(a.events, events...)
	}
	return true
}

// readNow returns the events since the last call, up to those that the kernel has caused by now.
func (a *follower) readNow() []*hub.Event {
	a.t.Helper()
	before := a.mark()
	a.marks++
	if a.marks%8 == 0 { // a new interface, because one has a budget of events
		must(a.t, a.ip("link", "del", before))
		before = "unmarked"
		must(a.t, a.ip("link", "add", before, "type", "veth", "peer", "name", "marker"))
	}
	must(a.t, a.ip("link", "set", before, "name", a.mark()))
	at := -1
	if !a.readUntil(func() bool {
		at = slices.IndexFunc(a.events, func(e *hub.Event) bool {
			return e.Action == "rename" && e.Options.Text("veth") == a.mark()
		})
		return at >= 0
	}) {
		a.t.Fatalf("no event for the rename of %s to %s", before, a.mark())
	}
	events := slices.Clone(a.events[:at])
	a.events = a.events[at+1:]
	return events
}

// expect checks that exactly these events came since the last step. The order counts for the
// events of one interface only.
func (a *follower) expect(step string, want ...string) []*hub.Event {
	a.t.Helper()
	a.readUntil(func() bool { return len(a.events) >= len(want) })
	events := a.readNow()
	var got []string
	for _, e := range events {
		got = append(got, formatFull(e))
	}
	if !slices.Equal(byInterface(got), byInterface(want)) {
		a.t.Fatalf("%s: got events\n%s\nwant\n%s", step, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return events
}

// finish checks that no more events come. It changes the carrier of the marker veths, because
// the kernel announces a change of carrier later than any other.
func (a *follower) finish() {
	a.t.Helper()
	rows, _, err := a.client.Interfaces(a.t.Context(), hub.Filter{})
	must(a.t, err)
	peers := map[string]string{"marker": a.mark(), a.mark(): "marker"}
	var want []string
	for _, row := range rows {
		if peer, ok := peers[row.Veth]; ok {
			want = append(want, iface{veth: row.Veth, name: peer, ifindex: int(row.Ifindex)}.event("up"))
		}
	}
	for end := range peers {
		must(a.t, a.ip("link", "set", end, "up"))
	}
	a.expect("at the end", want...)
}

// formatFull formats an interface event with all options that the tests check.
func formatFull(e *hub.Event) string {
	o := e.Options
	ifindex, _ := o.Get("ifindex")
	line := fmt.Sprintf("%s %s:%s %s #%d", formatEvent(e), o.Text("pool"), o.Text("id"), ifindex.Type(), ifindex.Uint())
	if resync, ok := o.Get("resync"); ok {
		line += " resync=" + strconv.FormatBool(resync.Bool())
	}
	if by := o.Text("bound_by"); by != "" {
		line += " bound_by=" + by
	}
	if kept, _ := o.Get("kept"); kept.Bool() {
		line += " kept"
	}
	if o.Text("pool") != e.Pool || o.Text("id") != e.ID {
		line += fmt.Sprintf(" but the event's container is %s:%s", e.Pool, e.ID)
	}
	return line
}

// byInterface sorts lines by the ifindex that they end with.
func byInterface(lines []string) []string {
	sorted := slices.Clone(lines)
	slices.SortStableFunc(sorted, func(a, b string) int {
		return cmp.Compare(a[strings.Index(a, "#"):], b[strings.Index(b, "#"):])
	})
	return sorted
}

// iface is an interface of a container as its events describe it.
type iface struct {
	pool, id   string
	name, veth string
	ifindex    int
	boundBy    string
	kept       bool
}

// at returns i with the present ifindex of its host end.
func (i iface) at(t testing.TB, ns *nstest.NS) iface {
	t.Helper()
	var err error
	i.ifindex, err = ns.Index(i.veth)
	must(t, err)
	return i
}

func (i iface) tail() string {
	tail := fmt.Sprintf(" %s:%s u #%d", i.pool, i.id, i.ifindex)
	if i.boundBy != "" {
		tail += " bound_by=" + i.boundBy
	}
	if i.kept {
		tail += " kept"
	}
	return tail
}

// event formats an up or down of the interface, as formatFull does.
func (i iface) event(action string) string {
	return fmt.Sprintf("%s name=%s veth=%s", action, i.name, i.veth) + i.tail()
}

// renamed formats a rename inside the container, and renames i.
func (i *iface) renamed(name string) string {
	old := i.name
	i.name = name
	return fmt.Sprintf("rename name=%s new_name=%s veth=%s", old, name, i.veth) + i.tail()
}

// renamedOnHost formats a rename of the host end, and renames i.
func (i *iface) renamedOnHost(veth string) string {
	old := i.veth
	i.veth = veth
	return fmt.Sprintf("rename name=%s new_name=%[1]s veth=%s old_veth=%s", i.name, veth, old) + i.tail()
}

// flip sets an interface down and up, renames it in one go as udev does, and renames it back
// step by step. run executes a command inside the container.
func (a *follower) flip(i *iface, run func(args ...string) (string, error)) {
	a.t.Helper()
	set := func(args ...string) {
		a.t.Helper()
		_, err := run(append([]string{"ip", "link", "set"}, args...)...)
		must(a.t, err)
	}
	set(i.name, "down")
	a.expect("down inside", i.event("down"))
	set(i.name, "up")
	a.expect("up inside", i.event("up"))

	first := i.name
	_, err := run("/bin/sh", "-c", "ip link set "+first+" down && ip link set "+first+" name lan0 && ip link set lan0 up")
	must(a.t, err)
	a.expect("renamed inside", i.event("down"), i.renamed("lan0"), i.event("up"))
	set("lan0", "down")
	a.expect("down inside before a rename", i.event("down"))
	set("lan0", "name", first)
	a.expect("renamed inside while down", i.renamed(first))
	set(first, "up")
	a.expect("up inside after the rename", i.event("up"))
}

// isOf reports whether e is an event of the interface.
func (i iface) isOf(e *hub.Event) bool {
	ifindex, _ := e.Options.Get("ifindex")
	return int(ifindex.Uint()) == i.ifindex
}
