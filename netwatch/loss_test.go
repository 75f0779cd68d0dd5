package netwatch

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/rtnl"
)

// turns takes some turns of a watcher.
func turns(t *testing.T, w *Watcher, n int) {
	t.Helper()
	for range n {
		_, err := w.turn(false)
		must(t, err)
		w.waitCommitted()
	}
}

// TestPartOfADumpIsNoDump spoils a part of a dump, and expects no down of the links in it.
func TestPartOfADumpIsNoDump(t *testing.T) {
	for name, spoil := range map[string]func(d *datagram){
		"malformed": func(d *datagram) { *d = datagram{err: rtnl.ErrMalformed} },
		"lost":      func(d *datagram) { *d = datagram{err: rtnl.ErrLost} },
		"interrupted": func(d *datagram) {
			d.messages = d.messages[:1]
			d.messages[0].Interrupted = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{links: map[uint32]*fakeLink{7: {"a", flagsUp, alone}, 8: {"b", flagsUp, alone}}}
			h := newHub(t)
			events := follow(t, h)
			w := newFakeWatcher(t, h, f)
			w.resync.pause = 0
			turns(t, w, 10)
			f.pending = rtnl.ErrLost
			turns(t, w, 1)
			spoil(&f.queue[0])
			turns(t, w, 10)
			if all := events.read(t); len(all) != 2 || f.dumps != 3 || !w.resync.synced() {
				t.Errorf("%d dumps, events:\n%s", f.dumps, strings.Join(describeAll(all), "\n"))
			}
		})
	}
}

// TestRenumbered expects the table to ask about a peer when the kernel frees the id of its namespace, and
// when the kernel gives the id to another namespace. The kernel may send these messages in either order.
func TestRenumbered(t *testing.T) {
	peer := rtnl.Peer{NSID: 0, Ifindex: 2}
	f := &fake{links: map[uint32]*fakeLink{7: {"h", flagsUp, peer}}, inner: map[rtnl.Peer]*fakeLink{}}
	f.makeInner(7, peer)
	w := newFakeWatcher(t, newHub(t), f)
	turns(t, w, 5)
	for _, typ := range []uint16{unix.RTM_NEWNSID, unix.RTM_DELNSID} {
		asked := f.asked
		f.say(nsidMessage(typ, 1))
		if turns(t, w, 5); f.asked != asked {
			t.Errorf("message %d of another id: asked", typ)
		}
		f.say(nsidMessage(typ, peer.NSID))
		if turns(t, w, 5); f.asked == asked {
			t.Errorf("message %d: not asked", typ)
		}
	}
}
