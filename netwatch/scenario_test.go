package netwatch

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
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
)

// With -capture, TestCapture writes testdata anew from the kernel it runs on.
var capture = flag.Bool("capture", false, "write testdata/*.hex anew")

// place is where a scenario happens.
type place struct {
	testing.TB
	host, inside *nstest.NS
	bare         *bare
}

// until waits until the kernel has said that a link is in a state. It says so of
// the end that was not touched some time later, from a work queue.
func (p *place) until(name string, state hub.LinkState) {
	p.Helper()
	p.hear(func(l *link) bool { return !l.deleted && string(l.name) == name && stateOf(l.flags) == state })
}

// hear waits for a message.
func (p *place) hear(it func(l *link) bool) {
	p.Helper()
	for {
		b := p.bare.next(p, true)
		if p.bare.sender().nsid != NSIDLocal {
			continue
		}
		for len(b) > 0 {
			m, rest, err := splitMessage(b)
			must(p, err)
			b = rest
			if m.typ != unix.RTM_NEWLINK && m.typ != unix.RTM_DELLINK {
				continue
			}
			l, ok, err := decodeLink(&m)
			must(p, err)
			if ok && it(&l) {
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

// running makes a pair that is up, with the peer inside.
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
	rows []string // what the view ends with
}

// scenarios are the lines of what the host hears.
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
			p.hear(func(l *link) bool { return l.deleted })
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
			told := map[string]bool{} // in the order of the kernel's work queue
			p.hear(func(l *link) bool {
				told[string(l.name)] = stateOf(l.flags) == hub.LinkUp
				return told["h"] && told["p"]
			})
		}, []string{"up p name=h", "up h name=p"}, []string{"h up p", "p up h"}},
		{"a name that is not text", func(p *place) {
			h, _ := p.running()
			must(p, p.host.Rename(h, "a\xff\\\x01b"))
		}, []string{"up h name=p", `rename a\xff\x5c\x01b name=p was=h`}, []string{`a\xff\x5c\x01b up p`}},
	}
}

// TestScenarios lets each happen in the kernel, and wants each event exactly
// once and in order.
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
			must(t, w.Settle(t.Context()))
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
		slices.Reverse(got) // which end is told first is up to the kernel, see there
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

// TestReplay has the same come of what the kernel said once upon a time.
func TestReplay(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			h := newHub(t)
			events := follow(t, h)
			f := &fake{inner: map[Peer]*fakeLink{}}
			w := newFakeWatcher(t, h, f)
			for _, d := range readCapture(t, s.file()) {
				f.meet(t, d)
				w.datagram(d.b, d.from)
				w.handOut()
				help(t, w)
				for ; len(f.queue) > 0; f.queue = f.queue[1:] {
					w.datagram(f.queue[0].b, f.queue[0].from)
				}
			}
			must(t, w.commit())
			s.compare(t, h, describeAll(events.read(t)))
			if w.resync.wanted != becauseStart {
				t.Errorf("resync because %q", w.resync.wanted)
			}
		})
	}
}

// meet makes the peers that a message names, called p.
func (f *fake) meet(t *testing.T, d datagram) {
	t.Helper()
	m, _, err := splitMessage(d.b)
	must(t, err)
	if d.from.nsid != NSIDLocal || m.typ != unix.RTM_NEWLINK {
		return
	}
	if l, ok, _ := decodeLink(&m); ok && l.peer.foreign() && f.inner[l.peer] == nil {
		f.inner[l.peer] = &fakeLink{name: "p", peer: Peer{0, l.ifindex}}
	}
}

// TestCapture writes the testdata, when it is told to.
func TestCapture(t *testing.T) {
	if !*capture {
		return
	}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			p := &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}
			p.bare = openBare(t, p.host)
			p.host.Do(func() {
				_, err := p.bare.hearNamespaces()
				must(t, err)
			})
			s.do(p)
			p.bare.drain(t)
			writeCapture(t, s.file(), p.bare.all)
		})
	}
	p := &place{TB: t, host: nstest.New(t), inside: nstest.New(t)}
	p.bare = openBare(t, p.host)
	p.running()
	p.pair("a", "b", nil)
	dump := openBare(t, p.host)
	must(t, dump.send(dumpRequest(1)))
	dump.drain(t)
	writeCapture(t, "dump.hex", dump.all)
}

func (s *scenario) file() string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(s.name) + ".hex"
}

// writeCapture writes datagrams, one a line. Those of another namespace begin with
// its id.
func writeCapture(t *testing.T, name string, datagrams []datagram) {
	t.Helper()
	var b strings.Builder
	for _, d := range datagrams {
		if d.from.nsid != NSIDLocal {
			fmt.Fprintf(&b, "%d ", d.from.nsid)
		}
		b.WriteString(hex.EncodeToString(d.b) + "\n")
	}
	must(t, os.WriteFile(filepath.Join("testdata", name), []byte(b.String()), 0o644))
}

func readCapture(t testing.TB, name string) []datagram {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	must(t, err)
	var datagrams []datagram
	for line := range strings.Lines(string(text)) {
		from := local
		if id, rest, ok := strings.Cut(line, " "); ok {
			nsid, err := strconv.Atoi(id)
			must(t, err)
			from.nsid, line = int32(nsid), rest
		}
		b, err := hex.DecodeString(strings.TrimSpace(line))
		must(t, err)
		datagrams = append(datagrams, datagram{b, from})
	}
	return datagrams
}

// bare is a second listener that has no filter and drops nothing.
type bare struct {
	*socket
	buf []byte
	all []datagram // heard so far
}

func openBare(t testing.TB, ns *nstest.NS) *bare {
	t.Helper()
	var s *socket
	var err error
	ns.Do(func() { s, err = openSocket(64<<20, slog.New(slog.DiscardHandler)) })
	must(t, err)
	t.Cleanup(func() { must(t, s.close()) })
	must(t, s.conn.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }))
	must(t, err)
	return &bare{socket: s, buf: make([]byte, datagramSize)}
}

// next returns the next datagram, nil if there is none and wait is false.
func (b *bare) next(t testing.TB, wait bool) []byte {
	t.Helper()
	n, err := b.receive(b.buf, wait)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	must(t, err)
	b.all = append(b.all, datagram{slices.Clone(b.buf[:n]), b.sender()})
	return b.all[len(b.all)-1].b
}

// drain hears all that the kernel has said so far.
func (b *bare) drain(t testing.TB) {
	t.Helper()
	for more := true; more; {
		more = b.next(t, false) != nil
	}
}
