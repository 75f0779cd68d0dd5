package netwatch

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// dropCapabilities drops capabilities with numbers up to 31 from the calling thread.
func dropCapabilities(which uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= which
	return unix.Capset(&header, &data[0])
}

// TestWithoutBroadcast expects a watcher without CAP_NET_BROADCAST to find renames at the next up, and to
// have a line of Missing.
func TestWithoutBroadcast(t *testing.T) {
	h := newHome(t)
	must(t, h.w.Close())
	deaf := nstest.New(t)
	h.host, h.owners.host = deaf, deaf
	h.bare = openBare(t, deaf)
	var err error
	deaf.Do(func() { err = dropCapabilities(1 << unix.CAP_NET_BROADCAST) })
	must(t, err)
	h.w = patient(newWatcherIn(t, deaf, &Config{Hub: h.hub, Owners: h.owners}))
	run(t, h.w)
	if got, want := h.w.Missing(), []string{"nothing but a test", missingBroadcast}; !slices.Equal(got, want) {
		t.Errorf("missing: %q", got)
	}
	_, peer := h.running()
	h.want(t, "up h name=p of=tank/101")
	must(t, h.inside.Down(peer))
	must(t, h.inside.Rename(peer, "eth0"))
	must(t, h.inside.Up(peer))
	h.until("h", hub.LinkUp)
	must(t, h.host.Down(h.index(h.host, "h")))
	must(t, h.host.Up(h.index(h.host, "h")))
	h.until("h", hub.LinkUp)
	got := h.newEvents(t)
	if n := len(got); n < 3 || got[n-1] != "up h name=eth0 of=tank/101" || !slices.Contains(got, "rename h name=p to=eth0 resync of=tank/101") &&
		!slices.Contains(got, "rename h name=p to=eth0 of=tank/101 resync") {
		t.Errorf("events:\n%s", strings.Join(got, "\n"))
	}
	foldAll(t, h.events.events)
}
