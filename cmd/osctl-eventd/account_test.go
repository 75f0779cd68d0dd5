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

// account follows all that the watcher says, from the oldest event on. For that it
// has a pair of veths of its own on the host, both ends down: an event of that is
// behind all that the kernel had said before.
type account struct {
	t      testing.TB
	daemon *daemonProcess
	client *client.Client
	filter hub.Filter
	cursor string
	events []*hub.Event // that no step has expected yet
	ip     func(args ...string) error
	marks  int
}

func follow(t testing.TB, d *daemonProcess, exec func(name string, args ...string) (string, error)) *account {
	t.Helper()
	a := &account{t: t, daemon: d, client: d.Client(t), cursor: hub.CursorOldest}
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

func (a *account) mark() string { return "mark" + strconv.Itoa(a.marks) }

// readUntil reads events until enough says so.
func (a *account) readUntil(enough func() bool) bool {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	for !enough() {
		next, events, err := a.client.WaitEvents(ctx, a.cursor, a.filter, 0, patience)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			a.t.Fatalf("%v; the daemon: %s", err, a.daemon.fate())
		}
		a.cursor, a.events = next, append(a.events, events...)
	}
	return true
}

// upToNow returns what the watcher said since it was last asked, up to what the kernel
// says now.
func (a *account) upToNow() []*hub.Event {
	a.t.Helper()
	before := a.mark()
	a.marks++
	if a.marks%8 == 0 { // an interface may not change its name very often
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
		a.t.Fatalf("the watcher does not say that %s is now %s", before, a.mark())
	}
	said := slices.Clone(a.events[:at])
	a.events = a.events[at+1:]
	return said
}

// expect wants just these events since the last step: those of one interface in this
// order, as those of several come as they may.
func (a *account) expect(step string, want ...string) []*hub.Event {
	a.t.Helper()
	a.readUntil(func() bool { return len(a.events) >= len(want) })
	said := a.upToNow()
	var got []string
	for _, e := range said {
		got = append(got, inFull(e))
	}
	if !slices.Equal(byInterface(got), byInterface(want)) {
		a.t.Fatalf("%s: events\n%s\nwant\n%s", step, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return said
}

// finish wants nothing more to be said, by a change that is as late as any: of carrier.
func (a *account) finish() {
	a.t.Helper()
	rows, _, err := a.client.Interfaces(a.t.Context(), hub.Filter{})
	must(a.t, err)
	peers := map[string]string{"marker": a.mark(), a.mark(): "marker"}
	var want []string
	for _, row := range rows {
		if peer, ok := peers[row.Veth]; ok {
			want = append(want, iface{veth: row.Veth, name: peer, ifindex: int(row.Ifindex)}.says("up"))
		}
	}
	for end := range peers {
		must(a.t, a.ip("link", "set", end, "up"))
	}
	a.expect("at the end", want...)
}

// inFull returns all that an interface event says, as one line.
func inFull(e *hub.Event) string {
	o := e.Options
	ifindex, _ := o.Get("ifindex")
	line := fmt.Sprintf("%s %s:%s %s #%d", told(e), o.Text("pool"), o.Text("id"), ifindex.Type(), ifindex.Uint())
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
		line += fmt.Sprintf(" but it is of %s:%s", e.Pool, e.ID)
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

// iface is an interface of a container as events have it.
type iface struct {
	pool, id   string
	name, veth string
	ifindex    int
	boundBy    string
	kept       bool
}

// at fills in the ifindex that the host end has now.
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

// says is the line of an event: up or down.
func (i iface) says(action string) string {
	return fmt.Sprintf("%s name=%s veth=%s", action, i.name, i.veth) + i.tail()
}

// renamed is the line of a rename inside.
func (i *iface) renamed(name string) string {
	old := i.name
	i.name = name
	return fmt.Sprintf("rename name=%s new_name=%s veth=%s", old, name, i.veth) + i.tail()
}

// renamedOnHost is the line of a rename of the host end.
func (i *iface) renamedOnHost(veth string) string {
	old := i.veth
	i.veth = veth
	return fmt.Sprintf("rename name=%s new_name=%[1]s veth=%s old_veth=%s", i.name, veth, old) + i.tail()
}

// flip sets an interface down, up, renames it there as udev and the like do, and back
// with a pause at each step: what is run runs inside.
func (a *account) flip(i *iface, run func(args ...string) (string, error)) {
	a.t.Helper()
	set := func(args ...string) {
		a.t.Helper()
		_, err := run(append([]string{"ip", "link", "set"}, args...)...)
		must(a.t, err)
	}
	set(i.name, "down")
	a.expect("down inside", i.says("down"))
	set(i.name, "up")
	a.expect("up inside", i.says("up"))

	first := i.name
	_, err := run("/bin/sh", "-c", "ip link set "+first+" down && ip link set "+first+" name lan0 && ip link set lan0 up")
	must(a.t, err)
	a.expect("renamed inside", i.says("down"), i.renamed("lan0"), i.says("up"))
	set("lan0", "down")
	a.expect("down inside, to be renamed", i.says("down"))
	set("lan0", "name", first)
	a.expect("renamed inside while down", i.renamed(first))
	set(first, "up")
	a.expect("up inside, renamed", i.says("up"))
}

// isOf reports whether an event is of the interface.
func (i iface) isOf(e *hub.Event) bool {
	ifindex, _ := e.Options.Get("ifindex")
	return int(ifindex.Uint()) == i.ifindex
}
