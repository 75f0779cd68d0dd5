package netwatch

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// place has the namespaces of a scenario.
type place struct {
	testing.TB
	host, inside *nstest.NS
	bare         *rtnl.Socket // a second listener
}

// until waits for a message that a link is in a state. The message about the other end of a changed
// link comes some time later, from a work queue.
func (p *place) until(name string, state hub.LinkState) {
	p.Helper()
	p.hear(func(l *rtnl.Link) bool { return !l.Deleted && l.Name == name && stateOf(l.Flags&flagsUp) == state })
}

// hear waits for a message for which it returns true.
func (p *place) hear(it func(l *rtnl.Link) bool) {
	p.Helper()
	for {
		messages, err := p.bare.Receive(true)
		must(p, err)
		for i := range messages {
			m := &messages[i]
			if m.From == rtnl.NSIDLocal && (m.Type == unix.RTM_NEWLINK || m.Type == unix.RTM_DELLINK) && it(&m.Link) {
				return
			}
		}
	}
}

func (p *place) pair(name, peer string, inside *nstest.NS) int {
	p.Helper()
	ifindex, err := p.host.Pair(name, peer, inside)
	must(p, err)
	return ifindex
}

func (p *place) index(ns *nstest.NS, name string) int {
	p.Helper()
	ifindex, err := ns.Index(name)
	must(p, err)
	return ifindex
}

// running makes a pair with the peer inside, and sets both ends up.
func (p *place) running() (host, inside int) {
	p.Helper()
	host = p.pair("h", "p", p.inside)
	inside = p.index(p.inside, "p")
	must(p, p.host.Up(host))
	must(p, p.inside.Up(inside))
	p.until("h", hub.LinkUp)
	return host, inside
}

type scenario struct {
	name string
	do   func(p *place)
	want []string // the events
	rows []string // the final rows of the view
}

// scenarios returns the changes of links and the events that they cause.
func scenarios() []scenario {
	return []scenario{
		{"pair on the host", func(p *place) {
			h := p.pair("h", "p", nil)
			must(p, p.host.Up(h))
			must(p, p.host.Up(p.index(p.host, "p")))
			p.until("h", hub.LinkUp)
		}, []string{"up p name=h", "up h name=p"}, []string{"p up h", "h up p"}},
		{"peer moves inside", func(p *place) {
			h := p.pair("h", "p", nil)
			peer := p.index(p.host, "p")
			must(p, p.host.Up(h))
			must(p, p.host.Up(peer))
			p.until("h", hub.LinkUp)
			must(p, p.host.Move(peer, p.inside))
			p.until("h", hub.LinkNoCarrier)
			must(p, p.inside.Up(p.index(p.inside, "p")))
			p.until("h", hub.LinkUp)
		}, []string{"up p name=h", "up h name=p", "down p name=h", "down h name=p", "up h name=p"}, []string{"h up p"}},
		{"peer made inside, flips", func(p *place) {
			_, peer := p.running()
			must(p, p.inside.Down(peer))
			p.until("h", hub.LinkNoCarrier)
			must(p, p.inside.Up(peer))
			p.until("h", hub.LinkUp)
			must(p, p.inside.Rename(peer, "eth0"))
		}, []string{"up h name=p", "down h name=p", "up h name=p", "rename h name=p to=eth0"}, []string{"h up eth0"}},
		{"host end flips", func(p *place) {
			h, _ := p.running()
			must(p, p.host.Down(h))
			must(p, p.host.Up(h))
			p.until("h", hub.LinkUp)
		}, []string{"up h name=p", "down h name=p", "up h name=p"}, []string{"h up p"}},
		{"host end is up last", func(p *place) {
			h := p.pair("h", "p", p.inside)
			must(p, p.inside.Up(p.index(p.inside, "p")))
			must(p, p.host.Up(h)) // its message has the carrier at once, but IFF_RUNNING maybe later
		}, []string{"up h name=p"}, []string{"h up p"}},
		{"host rename while up and while down", func(p *place) {
			h, _ := p.running()
			must(p, p.host.Rename(h, "h2"))
			must(p, p.host.Down(h))
			must(p, p.host.Rename(h, "h3"))
		}, []string{"up h name=p", "rename h2 name=p was=h", "down h2 name=p", "rename h3 name=p was=h2"}, []string{"h3 down p"}},
		{"rename of a peer on the host", func(p *place) {
			h := p.pair("h", "p", nil)
			must(p, p.host.Rename(p.index(p.host, "p"), "q"))
			must(p, p.host.Rename(h, "g"))
		}, []string{"rename q name=h was=p", "rename g name=q was=h"}, []string{"q down g", "g down q"}},
		{"in and out of a bridge", func(p *place) {
			h, _ := p.running()
			bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}
			must(p, p.host.Handle().LinkAdd(bridge))
			end := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: h}}
			must(p, p.host.Handle().LinkSetMaster(end, bridge))
			must(p, p.host.Handle().LinkSetNoMaster(end))
			must(p, p.host.Handle().LinkSetMaster(end, bridge))
			must(p, p.host.Delete(h))
		}, []string{"up h name=p", "down h name=p"}, nil},
		{"alias and other kinds", func(p *place) {
			h, _ := p.running()
			end := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: h}}
			must(p, p.host.Handle().LinkSetAlias(end, "alias"))
			must(p, p.host.Handle().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "d"}}))
			must(p, p.host.Up(p.index(p.host, "d")))
		}, []string{"up h name=p"}, []string{"h up p"}},
		{"host end deleted", func(p *place) {
			h, _ := p.running()
			must(p, p.host.Delete(h))
		}, []string{"up h name=p", "down h name=p"}, nil},
		{"pair on the host deleted", func(p *place) {
			h := p.pair("h", "p", nil)
			must(p, p.host.Up(h))
			must(p, p.host.Up(p.index(p.host, "p")))
			p.until("h", hub.LinkUp)
			must(p, p.host.Delete(h))
		}, []string{"up p name=h", "up h name=p", "down h name=p", "down p name=h"}, nil},
		{"deleted while down", func(p *place) {
			must(p, p.host.Delete(p.pair("h", "p", nil)))
		}, []string{}, nil},
		{"the namespace dies", func(p *place) {
			p.running()
			p.inside.Close()
			p.hear(func(l *rtnl.Link) bool { return l.Deleted })
		}, []string{"up h name=p", "down h name=p"}, nil},
		{"peer deleted inside", func(p *place) {
			_, peer := p.running()
			must(p, p.inside.Delete(peer))
		}, []string{"up h name=p", "down h name=p"}, nil},
		{"host end moved away", func(p *place) {
			h, _ := p.running()
			must(p, p.host.Move(h, p.inside))
		}, []string{"up h name=p", "down h name=p"}, nil},
		{"peer moves inside and comes back", func(p *place) {
			h := p.pair("h", "p", nil)
			must(p, p.host.Move(p.index(p.host, "p"), p.inside))
			must(p, p.inside.Move(p.index(p.inside, "p"), p.host))
			must(p, p.host.Up(h))
			must(p, p.host.Up(p.index(p.host, "p")))
			up := map[string]bool{} // the kernel's work queue reports the ends in any order
			p.hear(func(l *rtnl.Link) bool {
				up[l.Name] = stateOf(l.Flags&flagsUp) == hub.LinkUp
				return up["h"] && up["p"]
			})
		}, []string{"up p name=h", "up h name=p"}, []string{"h up p", "p up h"}},
		{"a name that is not text", func(p *place) {
			h, _ := p.running()
			must(p, p.host.Rename(h, "a\xff\\\x01b"))
		}, []string{"up h name=p", `rename a\xff\x5c\x01b name=p was=h`}, []string{`a\xff\x5c\x01b up p`}},
	}
}

// TestScenarios runs each scenario in the kernel, and expects each event exactly once and in order.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			p := &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}
			p.bare = openBare(t, p.host)
			h := newHub(t)
			events := follow(t, h)
			w := patient(newWatcherIn(t, p.host, &Config{Hub: h}))
			run(t, w)
			s.do(p)
			settle(t, w)
			s.compare(t, h, describeAll(events.read(t)))
			if n := h.Counters()[hub.CounterResyncs]; n != 0 {
				t.Errorf("%d resyncs", n)
			}
		})
	}
}

func (s *scenario) compare(t *testing.T, h *hub.Hub, got []string) {
	t.Helper()
	if s.name == "peer moves inside and comes back" && len(got) == 2 && got[0] == s.want[1] {
		slices.Reverse(got) // the kernel reports the ends in any order
	}
	if !slices.Equal(got, s.want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(s.want, "\n"))
	}
	rows, _ := h.Interfaces()
	var shown []string
	for _, r := range rows {
		shown = append(shown, fmt.Sprintf("%s %s %s", r.Veth, r.State, r.Name))
	}
	slices.Sort(shown)
	want := slices.Sorted(slices.Values(s.rows))
	if !slices.Equal(shown, want) {
		t.Errorf("view: %q, want %q", shown, want)
	}
}

// TestReplay expects the same events for recorded messages of the kernel. The captures in rtnl/testdata
// are of Linux 6.18, one datagram a line. Datagrams of another namespace begin with its id.
func TestReplay(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			h := newHub(t)
			events := follow(t, h)
			f := &fake{links: map[uint32]*fakeLink{}, inner: map[rtnl.Peer]*fakeLink{}}
			w := newFakeWatcher(t, h, f)
			w.resync = resync{dumps: 1, finished: true}
			for _, d := range readCapture(t, s.file()) {
				for i := range d.messages {
					f.follow(&d.messages[i])
				}
				f.queue = append(f.queue, d)
				for idle := false; !idle; {
					var err error
					idle, err = w.turn(false)
					must(t, err)
				}
			}
			w.waitCommitted()
			s.compare(t, h, describeAll(events.read(t)))
			if w.resync.wanted != "" {
				t.Errorf("resync because %q", w.resync.wanted)
			}
		})
	}
}

// follow makes the links of the model like those in a message. The peers have the name p.
func (f *fake) follow(m *rtnl.Message) {
	l := &m.Link
	switch {
	case m.From != rtnl.NSIDLocal || m.Type != unix.RTM_NEWLINK && m.Type != unix.RTM_DELLINK:
	case l.Deleted:
		delete(f.links, l.Ifindex)
		for ifindex, other := range f.links {
			if l.Moved && other.peer == (rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: l.Ifindex}) {
				other.peer, other.flags = l.MovedTo, other.flags&unix.IFF_UP
				f.makeInner(ifindex, other.peer)
			}
		}
	default:
		f.links[l.Ifindex] = &fakeLink{name: l.Name, flags: l.Flags, peer: l.Peer}
		f.makeInner(l.Ifindex, l.Peer)
	}
}

func (f *fake) makeInner(ifindex uint32, p rtnl.Peer) {
	if p.Foreign() && f.inner[p] == nil {
		f.inner[p] = &fakeLink{name: "p", peer: rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: ifindex}}
	}
}

func (s *scenario) file() string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(s.name) + ".hex"
}

func readCapture(t testing.TB, name string) []datagram {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("rtnl", "testdata", name))
	must(t, err)
	var datagrams []datagram
	for line := range strings.Lines(string(text)) {
		from := rtnl.NSIDLocal
		if id, rest, ok := strings.Cut(line, " "); ok {
			nsid, err := strconv.Atoi(id)
			must(t, err)
			from, line = int32(nsid), rest
		}
		b, err := hex.DecodeString(strings.TrimSpace(line))
		must(t, err)
		messages, err := rtnl.Parse(nil, b, from, false)
		must(t, err)
		datagrams = append(datagrams, datagram{messages: messages})
	}
	return datagrams
}

// openBare opens a second listener.
func openBare(t testing.TB, ns *nstest.NS) *rtnl.Socket {
	t.Helper()
	var s *rtnl.Socket
	var err error
	ns.Do(func() { s, err = rtnl.Open(64 << 20) })
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}
