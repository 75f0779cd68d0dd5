package netwatch

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// BenchmarkDecodeApply is one message of a real kernel, that says nothing new or
// flips the link each time, without a hub.
func BenchmarkDecodeApply(b *testing.B) {
	d := readCapture(b, "host-end-flips.hex")
	message := lastLocal(d)
	for name, toggle := range map[string]uint32{"same": 0, "flip": unix.IFF_LOWER_UP} {
		b.Run(name, func(b *testing.B) {
			tab := newTable(time.Now, false, true)
			b.ReportAllocs()
			for b.Loop() {
				m, _, err := splitMessage(message)
				must(b, err)
				l, ok, err := decodeLink(&m)
				if err != nil || !ok {
					b.Fatal(ok, err)
				}
				m.body[8+2] ^= byte(toggle >> 16)
				tab.apply(&l, false)
				tab.take()
			}
		})
	}
}

// BenchmarkKnown is a flip of a link whose peer is in a container: what is known is
// not asked again, neither the kernel nor the Owners.
func BenchmarkKnown(b *testing.B) {
	tab, _ := newTestTable()
	who := known{{0, 2}: {"tank", "101", "eth0"}}
	down, up := say(7, "h", flagsNoCarrier, Peer{0, 2}), say(7, "h", flagsUp, Peer{0, 2})
	tab.apply(down, false)
	who.tell(tab)
	tab.take()
	b.ReportAllocs()
	for b.Loop() {
		tab.apply(up, false)
		tab.apply(down, false)
		if n := len(tab.take()); n != 2 {
			b.Fatalf("%d changes", n)
		}
	}
	if len(tab.wanted)+len(tab.questions) != 0 {
		b.Errorf("asked: %d of the kernel, %d of the owners", len(tab.wanted), len(tab.questions))
	}
}

// BenchmarkForeign is a message of a container about what is its own.
func BenchmarkForeign(b *testing.B) {
	w := newFakeWatcher(b, newHub(b), &fake{})
	message := newLink(3, &fakeLink{name: "docker0", peer: Peer{1, 4}})
	from := origin{nsid: 5}
	b.ReportAllocs()
	for b.Loop() {
		w.datagram(message, from)
	}
}

// BenchmarkNewContainer is a container that starts and dies, from its veth to the
// committed events, beside what the kernel needs for it.
func BenchmarkNewContainer(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(map[bool]string{false: "nobody", true: "watcher"}[watched], func(b *testing.B) {
			host := nstest.New(b)
			owners := newRegister(host)
			var w *Watcher
			if watched {
				h, err := hub.New(hub.Config{})
				must(b, err)
				w = newWatcherIn(b, host, &Config{Hub: h, Owners: owners})
				run(b, w)
			}
			b.ReportAllocs()
			for b.Loop() {
				ns, err := nstest.Open()
				must(b, err)
				owners.set("101", ns)
				x, err := host.Pair("h", "eth0", ns)
				must(b, err)
				peer, err := ns.Index("eth0")
				must(b, err)
				must(b, host.Up(x))
				must(b, ns.Up(peer))
				must(b, host.Delete(x))
				owners.stop("101")
				if watched {
					must(b, w.Settle(b.Context()))
				}
			}
		})
	}
}

// lastLocal returns the last datagram of the watched namespace.
func lastLocal(all []datagram) []byte {
	for i := len(all) - 1; ; i-- {
		if all[i].from == local {
			return all[i].b
		}
	}
}

// BenchmarkFlip is a link that goes up and down in the kernel, heard by a bare
// socket that only reads, or by a watcher that commits. An operation is one flip,
// two messages; most of it is the kernel's.
func BenchmarkFlip(b *testing.B) {
	flips := func(b *testing.B, prepare func(p *place) (settle func())) {
		b.Helper()
		p := &place{TB: b, host: nstest.New(b), inside: nstest.New(b)}
		p.bare = openBare(b, p.host)
		h, _ := p.running()
		settle := prepare(p)
		b.ReportAllocs()
		for b.Loop() {
			must(b, p.host.Down(h))
			must(b, p.host.Up(h))
		}
		settle()
	}
	b.Run("owned", func(b *testing.B) {
		flips(b, func(p *place) func() {
			h, err := hub.New(hub.Config{})
			must(b, err)
			owners := newRegister(p.host)
			owners.set("101", p.inside)
			w := newWatcherIn(b, p.host, &Config{Hub: h, Owners: owners})
			run(b, w)
			walks := owners.walks()
			return func() {
				must(b, w.Settle(b.Context()))
				if n := owners.walks() - walks; n != 0 {
					b.Errorf("%d walks", n)
				}
			}
		})
	})
	b.Run("nobody", func(b *testing.B) { flips(b, func(*place) func() { return func() {} }) })
	b.Run("bare", func(b *testing.B) {
		flips(b, func(p *place) func() {
			var s *socket
			var err error
			p.host.Do(func() { s, err = openSocket(DefaultReceiveBuffer, slog.New(slog.DiscardHandler)) })
			must(b, err)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				buf := make([]byte, datagramSize)
				for {
					if n, err := s.receive(buf, true); err != nil || n >= 6 && buf[4] == unix.NLMSG_ERROR {
						return
					}
				}
			}()
			return func() {
				must(b, s.send(fenceRequest(1)))
				<-ended
				must(b, s.close())
			}
		})
	})
	b.Run("watcher", func(b *testing.B) {
		flips(b, func(p *place) func() {
			h, err := hub.New(hub.Config{})
			must(b, err)
			w := newWatcherIn(b, p.host, &Config{Hub: h})
			run(b, w)
			return func() { must(b, w.Settle(b.Context())) }
		})
	})
}

// BenchmarkBacklog is how fast a backlog of flips is read: messages a second, by a
// bare socket and by a watcher that commits.
func BenchmarkBacklog(b *testing.B) {
	const messages = 4000
	fill := func(b *testing.B, open func(ns *nstest.NS) func()) {
		b.Helper()
		ns := nstest.New(b)
		x, err := ns.Pair("h", "p", nil)
		must(b, err)
		peer, err := ns.Index("p")
		must(b, err)
		must(b, ns.Up(peer))
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			read := open(ns)
			for i := range messages {
				must(b, ns.Rename(x, "h"+strconv.Itoa(i%2)))
			}
			b.StartTimer()
			read()
		}
		b.ReportMetric(float64(messages)*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	}
	b.Run("bare", func(b *testing.B) {
		fill(b, func(ns *nstest.NS) func() {
			second := openBare(b, ns)
			return func() {
				for range messages {
					if _, err := second.receive(second.buf, false); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	})
	b.Run("watcher", func(b *testing.B) {
		fill(b, func(ns *nstest.NS) func() {
			h, err := hub.New(hub.Config{})
			must(b, err)
			w := newWatcherIn(b, ns, &Config{Hub: h})
			return func() {
				for empty := false; !empty; {
					if empty, err = w.turn(false); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				must(b, w.Close())
				b.StartTimer()
			}
		})
	})
}
