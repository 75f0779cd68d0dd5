package netwatch

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/nstest"
)

// TestPauses wants messages to gather while there are more and more namespaces, the
// longer the more there are, and only then.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPauses(DefaultReceiveBuffer)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		want := func(want time.Duration, when string, namespaces ...int) {
			t.Helper()
			start := time.Now()
			for _, n := range namespaces {
				p.take(ctx, time.Now(), n, time.Time{})
			}
			if got := time.Since(start); got != want {
				t.Errorf("paused for %v %s, want %v", got, when, want)
			}
		}
		want(0, "with few containers that start", 500, 501, 500, 501, 507)
		want(2*gatherLeast, "in 2 turns of a small burst", 508, 508)
		want(100*gatherFor, "with 100 more", 600)
		want(2*gatherMost, "with many more", 1000, 10_000)
		time.Sleep(burstIn - time.Since(p.since))
		want(gatherMost, "in the second after that", 10_000)
		time.Sleep(burstIn)
		want(0, "after a burst", 10_000, 10_007)
		time.Sleep(10 * burstIn)
		want(0, "long after it", 20_000, 20_007)
		want(0, "when containers ended", 100, 107)
		want(gatherLeast, "when others start", 108)
		cancel()
		want(0, "at the end", 200, 300)
	})
}

// TestPauseEnds wants a pause to end when an event was held back for long enough.
func TestPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPauses(DefaultReceiveBuffer)
		for _, in := range []time.Duration{gatherMost * 2, gatherMost, gatherLeast / 2, 0, -time.Second} {
			start := time.Now()
			p.take(t.Context(), start, 0, time.Time{})
			p.take(t.Context(), start, 1000, start.Add(in))
			if got, want := time.Since(start), min(max(in, 0), gatherMost); got != want {
				t.Errorf("paused for %v, want %v", got, want)
			}
		}
	})
}

// TestPausesOfBuffers wants pauses to be short if the receive buffer is small.
func TestPausesOfBuffers(t *testing.T) {
	for buffer, want := range map[int]time.Duration{
		0: gatherLeast, 208 << 10: gatherLeast, DefaultReceiveBuffer / 2: gatherMost / 2,
		DefaultReceiveBuffer: gatherMost, 1 << 30: gatherMost,
	} {
		if got := newPauses(buffer).most; got != want {
			t.Errorf("with a buffer of %d bytes at most %v, want %v", buffer, got, want)
		}
	}
}

// TestPausesOfWatchers wants a watcher to take the receive buffer that it got for that.
func TestPausesOfWatchers(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	must(t, err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	large := max(2*limit, DefaultReceiveBuffer)
	for _, test := range []struct {
		config  Config
		without uint32 // these capabilities
		want    int
	}{
		{Config{}, 0, DefaultReceiveBuffer},
		{Config{ReceiveBuffer: 4 << 20}, 0, 4 << 20},
		{Config{ReceiveBuffer: large}, 1 << unix.CAP_NET_ADMIN, limit},
	} {
		ns := nstest.New(t)
		ns.Do(func() { err = dropCapabilities(test.without) })
		must(t, err)
		test.config.Hub = newHub(t)
		w := newWatcherIn(t, ns, &test.config)
		if got, want := w.pauses.most, newPauses(test.want).most; got != want {
			t.Errorf("asked for %d bytes, without %x: at most %v, want %v", test.config.ReceiveBuffer, test.without, got, want)
		}
		must(t, w.Close())
	}
}

// TestNoPauseForTheBrief wants no pauses for a while after a namespace ended so early that
// a pause might have missed it.
func TestNoPauseForTheBrief(t *testing.T) {
	h := newHub(t)
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWatcher(t, h, &fake{})
		defer func() { must(t, w.Close()) }()
		w.resync = resync{dumps: 1, backoff: backoff}
		nsid := int32(0)
		want := func(want bool, when string) {
			t.Helper()
			w.pauses = newPauses(DefaultReceiveBuffer)
			w.gather(t.Context())
			for range burstOf {
				w.table.namespace(nsid)
				nsid++
			}
			start := time.Now()
			w.gather(t.Context())
			if got := time.Since(start); (got > 0) != want {
				t.Errorf("paused for %v %s", got, when)
			}
		}
		want(true, "with none that ended")
		time.Sleep(brief - gatherLeast)
		w.table.renumbered(0, true)
		w.table.renumbered(nsid, true)
		want(true, "after the end of one that lived for longer, and of one without a veth")
		w.table.renumbered(nsid-1, false)
		want(true, "after an id was said anew")
		w.resync.seq = 1
		w.finishDump(0)
		w.table.renumbered(nsid-1, true)
		want(true, "after the end of one that a dump told of")
		time.Sleep(brief - gatherLeast - 1)
		w.table.renumbered(nsid-1, true)
		want(false, "after an early end")
		time.Sleep(alertFor - 1)
		want(false, "for a while")
		time.Sleep(time.Nanosecond)
		want(true, "after that")
	})
}

// TestGather wants a watcher to pause in a burst, but no longer than an event may be held back,
// and not after a loss.
func TestGather(t *testing.T) {
	h := newHub(t)
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWatcher(t, h, &fake{})
		defer func() { must(t, w.Close()) }()
		w.resync = resync{dumps: 1}
		want := func(want time.Duration, when string) {
			t.Helper()
			start := time.Now()
			w.gather(t.Context())
			if got := time.Since(start); got != want {
				t.Errorf("paused for %v %s, want %v", got, when, want)
			}
		}
		want(0, "at first")
		for i := range int32(1000) {
			w.table.namespace(i)
		}
		want(gatherMost, "in a burst")
		w.window--
		want(0, "after a loss")
		w.window++
		w.table.apply(say(7, "h", flagsUp, Peer{0, 2}), false)
		must(t, w.publish(false))
		time.Sleep(holdFor - time.Millisecond)
		must(t, w.publish(false))
		want(time.Millisecond, "while an up waits")
		must(t, w.publish(false))
		want(gatherMost, "when it was announced")
	})
}
