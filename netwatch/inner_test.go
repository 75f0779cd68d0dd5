package netwatch

import "testing"

// TestNotThePeer wants what has the numbers of a peer, and is not, to say nothing:
// a container may give the ifindex that its interface had to another.
func TestNotThePeer(t *testing.T) {
	tab, _ := newTestTable()
	who := known{{0, 2}: {"tank", "101", "eth0"}}
	tab.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
	who.owners(tab)
	a := tab.nextAsk(func() uint32 { return 1 })
	tab.answered(a, say(2, "own", flagsUp, Peer{1, 8}), 0)
	if a := tab.nextAsk(func() uint32 { return 2 }); a == nil || a.kind != askHost {
		t.Fatalf("asked %+v", a)
	} else {
		tab.answered(a, say(7, "h", flagsUp, Peer{0, 3}), 0) // it was moved in there
	}
	known{{0, 3}: {"tank", "101", "eth0"}}.tell(tab)
	got := lines(tab)
	if got[0] != `up 7 h up "" tank/101` || got[len(got)-1] != `up 7 h up "eth0" tank/101` {
		t.Errorf("%q", got)
	}
	for _, l := range []*link{say(2, "own", flagsUp, Peer{0, 7}), say(3, "own", flagsUp, Peer{1, 8}), say(3, "own", 0, alone)} {
		tab.inner(l, 0)
	}
	tab.inner(say(3, "own", flagsUp, Peer{0, 7}), 1)
	expect(t, tab)
	tab.inner(say(3, "eth1", 0, Peer{0, 7}), 0) // that is it, and it is down
	expect(t, tab, `down 7 h no-carrier "eth0" tank/101`, `rename 7 h no-carrier "eth1" tank/101 was eth0`)
}
