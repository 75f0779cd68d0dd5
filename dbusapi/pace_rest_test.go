package dbusapi

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

// countRests returns a settle that counts the rests, and fails if one begins in another.
func countRests(t *testing.T) (settle func(context.Context), rests func() int32) {
	t.Helper()
	var count, now atomic.Int32
	return func(context.Context) {
		if count.Add(1); now.Add(1) > 1 {
			t.Error("a rest begins in a rest")
		}
		time.Sleep(slice)
		now.Add(-1)
	}, count.Load
}

// Calls that are being handled when a rest begins end in it, and begin no other one.
func TestPaceOneRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle, rests := countRests(t)
		p := newPaced(t, 64<<20, settle)
		defer p.close()
		p.run(time.Second, 100, []string{"a", "b", "c", "d", "e"}, "Report", "other")
		if n := rests(); n < 10 {
			t.Errorf("there were %d rests in a second", n)
		}
	})
}

// What makes a sender rest is the time that it takes, here or in the bus. Large calls
// crowd, too.
func TestPaceLarge(t *testing.T) {
	for name, test := range map[string]struct {
		every, takes time.Duration
		burst        int
		rests        bool
	}{
		"one after the other":          {2 * time.Millisecond, time.Millisecond, 1, true},
		"a twentieth of the time":      {20 * time.Millisecond, time.Millisecond, 1, false},
		"handled in no time":           {2 * time.Millisecond, 0, 1, false},
		"many of them, in no time":     {2 * time.Millisecond, 0, 50, true},
		"as many, once in a long time": {20 * time.Millisecond, 0, 50, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settle, rests := countRests(t)
				p := newPaced(t, 64<<20, settle)
				defer p.close()
				p.takes = test.takes
				for range 100 {
					p.calls("other", "Report", 1)
					for range test.burst {
						p.serials["large"]++
						if err := p.offer(queued("large", p.serials["large"], 2*fewBytes)); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(test.every)
				}
				if n := rests(); n > 0 != test.rests {
					t.Errorf("there were %d rests", n)
				}
			})
		})
	}
}

// Who has exactly as many waiting as a dbus-daemon allows, while others do not reach us,
// counts as refused by it, for a while.
func TestPaceRefused(t *testing.T) {
	p := pace{crowding: map[string]crowding{}}
	now := time.Now()
	for _, test := range []struct {
		wanting int
		missed  time.Time
		refused bool
	}{
		{fewCalls + 1, now, false},
		{busLimit - 1, now, false},
		{busLimit, time.Time{}, false},
		{busLimit, now.Add(-paceMemory), false},
		{busLimit, now.Add(1 - paceMemory), true},
		{busLimit - 1, now, true},
		{busLimit + 1, now, false},
		{busLimit - 1, now, false},
		{busLimit, now, true},
	} {
		if p.crowd(&backlog{sender: "a", wanting: test.wanting, missed: test.missed}, now); p.refused("a", now) != test.refused {
			t.Errorf("with %d waiting, refused is %v", test.wanting, !test.refused)
		}
	}
	if p.refused("a", now.Add(paceMemory)) {
		t.Error("it is for ever")
	}
}

// Calls that did not reach us are seen by the serials of those that did, if they are many.
// It does not matter where serials begin, that they begin anew, or that some come late.
func TestBacklogMissed(t *testing.T) {
	d, now := newDispatcher(1<<20), time.Now()
	for name, test := range map[string]struct {
		first  uint32
		serial func(i uint32) uint32
		missed bool
	}{
		"all there":           {7, func(i uint32) uint32 { return i }, false},
		"half there":          {7, func(i uint32) uint32 { return 2 * i }, true},
		"a quarter missing":   {7, func(i uint32) uint32 { return i + i/3 }, true},
		"some elsewhere":      {7, func(i uint32) uint32 { return i + i/20 }, false},
		"a gap":               {7, func(i uint32) uint32 { return i + i/500*20 }, false},
		"a large one":         {7, func(i uint32) uint32 { return i + i/500*1000 }, true},
		"a huge one":          {7, func(i uint32) uint32 { return i + i/500<<30 }, true},
		"pairs swapped":       {8, func(i uint32) uint32 { return i ^ 1 }, false},
		"eights backwards":    {8, func(i uint32) uint32 { return i ^ 7 }, false},
		"all in disorder":     {128, func(i uint32) uint32 { return i ^ 127 }, false},
		"all the same":        {7, func(uint32) uint32 { return 0 }, false},
		"beginning anew":      {1<<32 - 500, func(i uint32) uint32 { return i + i/500 }, false},
		"refused at that":     {1<<32 - 500, func(i uint32) uint32 { return i * 2 }, true},
		"backwards":           {1 << 20, func(i uint32) uint32 { return -i }, false},
		"a few before a rest": {7, func(i uint32) uint32 { return i + min(i, fewMissing) }, false},
	} {
		b := &backlog{}
		for i := range uint32(1000) {
			b.count(queued("a", test.first+test.serial(i), 300), now.Add(time.Duration(i)*paceMemory/2000))
		}
		if b.missed.IsZero() == test.missed {
			t.Errorf("%s: missed is %v", name, b.missed)
		}
	}
	b := &backlog{}
	for i := range uint32(1000) { // a few in each stretch
		b.count(queued("a", 2*i+1, 300), now.Add(time.Duration(i)*paceMemory/fewMissing))
	}
	if !b.missed.IsZero() {
		t.Error("of a few in a long time, many are missing")
	}
	for i, m := range []*message{queued("a", 1, 300), queued("a", 2, 300), queued("a", 3, 300)} {
		m.Flags = []byte{0, wire.FlagNoReply, 0}[i]
		if err := d.offer(m); err != nil {
			t.Fatal(err)
		}
	}
	d.follow("a", &message{Header: &wire.Header{Type: wire.TypeSignal}})
	if b := d.senders["a"]; b.waiting != 4 || b.wanting != 2 || !b.missed.IsZero() {
		t.Errorf("%d wait, %d of them for a reply, missed is %v", b.waiting, b.wanting, b.missed)
	}
	if left := d.abandon(); len(left) != 4 || len(d.senders) != 0 {
		t.Errorf("%d were let go", len(left))
	}
}

// The bus refuses reports of who comes to its limit, and does not go beyond.
func TestPaceMeet(t *testing.T) {
	now := time.Now()
	p := pace{crowded: now, seen: now}
	for _, test := range []struct {
		sender, member string
		flags          byte
		wanting        int
		want           strain
	}{
		{"a", "Report", 0, busLimit - 1, uneven},
		{"a", "Report", wire.FlagNoReply, busLimit, uneven},
		{"a", "WaitEvents", 0, busLimit, uneven},
		{"a", "Ping", 0, busLimit, uneven},
		{"a", "ReportBatch", 0, busLimit, refusing},
		{"b", "Report", 0, busLimit + 1, refusing},
		{"a", "Ping", 0, busLimit + 1, refusing},
		{"a", "Report", 0, busLimit - 1, refusing},
		{"a", "Report", 0, busLimit + 1, uneven},
		{"b", "Report", 0, busLimit, refusing},
	} {
		m := &message{Header: &wire.Header{Type: wire.TypeCall, Flags: test.flags, Sender: test.sender, Interface: Interface, Member: test.member}}
		b := &backlog{sender: test.sender, wanting: test.wanting, missed: now}
		if p.meet(m, b, now); p.strain(now) != test.want {
			t.Errorf("%+v: %v", test, p.strain(now))
		}
	}
	if got := p.strain(now.Add(paceMemory - 1)); got != refusing {
		t.Errorf("a moment later: %v", got)
	}
	later := now.Add(paceMemory)
	if p.crowded, p.seen = later, later; p.strain(later) != uneven {
		t.Error("it is for ever")
	}
}

// Who crowds does so for as long as many of its calls wait, whether it makes more or not.
func TestPaceRemainder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t, 64<<20, func(context.Context) {})
		defer p.close()
		p.calls("flood", "Report", 1000)
		p.run(time.Second, 0, nil, "Report", "other")
		if got := p.count("flood"); got < 200 || got > 400 {
			t.Errorf("%d calls were handled", got)
		}
	})
}

// Who crowded a moment ago and comes back in a rest waits for its end, too.
func TestPaceReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(t, 64<<20, func(ctx context.Context) { <-ctx.Done() })
		defer p.close()
		p.calls("back", "Report", 2*fewCalls)
		time.Sleep(2 * fewCalls * time.Millisecond)
		for !p.resting() {
			p.calls("flood", "Report", 10)
			p.calls("other", "Report", 1)
			time.Sleep(time.Millisecond)
		}
		before := p.count("back")
		p.calls("back", "Report", 1)
		time.Sleep(2 * time.Millisecond)
		if before != 2*fewCalls || p.count("back") != before || !p.resting() {
			t.Errorf("%d calls were handled before, %d then", before, p.count("back"))
		}
		time.Sleep(maxRest)
		if p.count("back") != before+1 {
			t.Error("it is forgotten")
		}
	})
}
