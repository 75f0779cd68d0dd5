package netwatch

import (
	"strconv"
	"testing"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
	"github.com/osctl/eventd/netwatch/rtnl"
)

// BenchmarkFlipInTable measures one flip of a link in the table, with its questions.
func BenchmarkFlipInTable(b *testing.B) {
	for _, owners := range []bool{false, true} {
		b.Run(map[bool]string{false: "on the host", true: "in a container"}[owners], func(b *testing.B) {
			f := &fake{links: map[uint32]*fakeLink{7: {name: "h"}}, inner: map[rtnl.Peer]*fakeLink{}}
			l := f.links[7]
			if l.peer = alone; owners {
				l.peer = rtnl.Peer{NSID: 0, Ifindex: 2}
				f.makeInner(7, l.peer)
			}
			w := unlimited(newFakeWatcher(b, newHub(b), f))
			b.ReportAllocs()
			for b.Loop() {
				l.flags ^= flagsUp
				f.tell(7)
				for idle := false; !idle; {
					var err error
					idle, err = w.turn(false)
					must(b, err)
				}
			}
		})
	}
}

// BenchmarkForeign measures a message about a veth of a container's own.
func BenchmarkForeign(b *testing.B) {
	w := newFakeWatcher(b, newHub(b), &fake{})
	m := newLink(3, &fakeLink{name: "docker0", peer: rtnl.Peer{NSID: 1, Ifindex: 4}})
	m.From = 5
	b.ReportAllocs()
	for b.Loop() {
		w.applyMessage(&m)
	}
}

// BenchmarkNewContainer measures a container that starts and dies, from its veth to the committed events.
// Without a watcher it measures what the kernel needs.
func BenchmarkNewContainer(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(map[bool]string{false: "nobody", true: "watcher"}[watched], func(b *testing.B) {
			host := nstest.New(b)
			owners := newRegister(host)
			var w *Watcher
			if watched {
				h, err := hub.New(b.Context(), hub.Config{})
				must(b, err)
				w = newWatcherIn(b, host, &Config{Hub: h, Owners: owners})
				run(b, unlimited(w))
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
					settle(b, w)
				}
			}
		})
	}
}

// BenchmarkFlip measures a link that goes up and down in the kernel, with a bare socket that only reads,
// or with a watcher that commits. An operation is one flip, which is two messages. The kernel needs most
// of the time.
func BenchmarkFlip(b *testing.B) {
	flips := func(b *testing.B, prepare func(p *place) (end func())) {
		b.Helper()
		p := &place{TB: b, host: nstest.New(b), inside: nstest.New(b)}
		p.bare = openBare(b, p.host)
		h, _ := p.running()
		end := prepare(p)
		b.ReportAllocs()
		for b.Loop() {
			must(b, p.host.Down(h))
			must(b, p.host.Up(h))
		}
		end()
	}
	b.Run("owned", func(b *testing.B) {
		flips(b, func(p *place) func() {
			h, err := hub.New(b.Context(), hub.Config{})
			must(b, err)
			owners := newRegister(p.host)
			owners.set("101", p.inside)
			w := newWatcherIn(b, p.host, &Config{Hub: h, Owners: owners})
			run(b, unlimited(w))
			walks := owners.walks()
			return func() {
				settle(b, w)
				b.ReportMetric(float64(owners.walks()-walks)/float64(b.N), "searches/op")
			}
		})
	})
	b.Run("nobody", func(b *testing.B) { flips(b, func(*place) func() { return func() {} }) })
	b.Run("bare", func(b *testing.B) {
		flips(b, func(p *place) func() {
			s := openBare(b, p.host)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					messages, err := s.Receive(true)
					if err != nil || len(messages) == 1 && messages[0].Request == 1 {
						return
					}
				}
			}()
			return func() {
				must(b, s.Nudge(1))
				<-ended
			}
		})
	})
	b.Run("watcher", func(b *testing.B) {
		flips(b, func(p *place) func() {
			h, err := hub.New(b.Context(), hub.Config{})
			must(b, err)
			w := newWatcherIn(b, p.host, &Config{Hub: h})
			run(b, unlimited(w))
			return func() { settle(b, w) }
		})
	})
}

// BenchmarkBacklog measures how fast a bare socket, and a watcher that commits, read a backlog of
// messages.
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
					if _, err := second.Receive(false); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	})
	b.Run("watcher", func(b *testing.B) {
		fill(b, func(ns *nstest.NS) func() {
			h, err := hub.New(b.Context(), hub.Config{})
			must(b, err)
			w := unlimited(newWatcherIn(b, ns, &Config{Hub: h}))
			return func() {
				for idle := false; !idle; {
					if idle, err = w.turn(false); err != nil {
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
