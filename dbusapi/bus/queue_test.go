package bus

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
)

// Calls of one connection are handled in the order sent, one at a time.
func TestOrder(t *testing.T) {
	h := &handled{}
	busy := map[string]*atomic.Int32{}
	q, who := testQueue(64<<20, func(c *connection, m *wire.Message) {
		if busy[m.Sender].Add(1) != 1 {
			t.Errorf("two calls of %s at a time", c.name)
		}
		h.record(c, m)
		busy[m.Sender].Add(-1)
	})
	const conns, calls = 10, 2000
	for i := range conns {
		sender := fmt.Sprint("c", i)
		busy[sender] = &atomic.Int32{}
		who.addKnown(uint32(i%3), sender)
	}
	q.start()
	for i := range uint32(calls) {
		for c := range conns {
			mustOffer(t, q, newCall(fmt.Sprint("c", c), i, 300))
		}
	}
	q.close()
	next := map[string]int{}
	for _, got := range h.got {
		sender, _, _ := strings.Cut(got, "/")
		if want := fmt.Sprintf("%s/%d", sender, next[sender]); got != want {
			t.Fatalf("handled was %s, want %s", got, want)
		}
		next[sender]++
	}
	if len(h.got) != conns*calls {
		t.Errorf("%d were handled", len(h.got))
	}
	wantEmpty(t, q)
}

// While one user floods with many connections, another user gets every other turn, and its connections
// take turns.
func TestTurns(t *testing.T) {
	h := &handled{}
	q, who := testQueue(64<<20, h.record)
	const conns, calls = 200, 20
	for c := range conns {
		sender := fmt.Sprint("flood", c)
		who.addKnown(1, sender)
		for i := range uint32(calls) {
			mustOffer(t, q, newCall(sender, i, 300))
		}
	}
	who.addKnown(2, "other", "second")
	var want []string
	for i := range uint32(30) {
		mustOffer(t, q, newCall("other", i, 300))
		if i < 10 {
			mustOffer(t, q, newCall("second", i, 300))
			want = append(want, fmt.Sprint("other/", i), fmt.Sprint("second/", i))
		} else {
			want = append(want, fmt.Sprint("other/", i))
		}
	}
	q.startWorker()
	q.close()
	var others, floods []string
	for i, got := range h.got {
		flood := strings.HasPrefix(got, "flood")
		if i < 2*len(want) && flood == (i%2 == 1) {
			t.Fatalf("turn %d went to %s", i, got)
		}
		if flood {
			floods = append(floods, got)
		} else {
			others = append(others, got)
		}
	}
	if !slices.Equal(others, want) {
		t.Errorf("turns of the other user's connections: %v", others)
	}
	for i, got := range floods {
		if want := fmt.Sprintf("flood%d/%d", i%conns, i/conns); got != want {
			t.Fatalf("turn %d of the flood went to %s, want %s", i, got, want)
		}
	}
	if len(floods) != conns*calls {
		t.Errorf("%d calls of the flood were handled", len(floods))
	}
}

// A call of another user gets the next turn, however many calls are queued.
func TestTurnDuringFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan struct{}, 1)
		q, who := testQueue(64<<20, func(_ *connection, m *wire.Message) {
			time.Sleep(time.Millisecond)
			if m.Sender == "other" {
				answered <- struct{}{}
			}
		})
		who.addKnown(2, "other")
		for c := range 200 {
			sender := fmt.Sprint("flood", c)
			who.addKnown(1, sender)
			for i := range uint32(100) {
				mustOffer(t, q, newCall(sender, i, 300))
			}
		}
		q.start()
		time.Sleep(10 * time.Millisecond)
		for i := range uint32(500) {
			start := time.Now()
			mustOffer(t, q, newCall("other", i, 300))
			<-answered
			if d := time.Since(start); d > 2*time.Millisecond {
				t.Fatalf("call %d took %v, each call takes 1ms", i, d)
			}
		}
		q.close()
	})
}

// Unidentified connections wait, and count to one user. Once identified, they count to their own.
func TestUnidentifiedConnections(t *testing.T) {
	const call = 1000
	h := &handled{}
	q, who := testQueue(1000*call, h.record)
	fill := func(sender string) (n int) {
		for q.offer(newCall(sender, uint32(n), call)) == nil {
			n++
		}
		return n
	}
	who.addKnown(1, "known")
	// The unknown user may hold 500; its connections 250, then half of the remaining 250.
	if a, b := fill("a"), fill("b"); a != 250 || b != 125 {
		t.Errorf("accepted %d and %d calls, want 250 and 125", a, b)
	}
	q.startWorker()
	if n := q.shareOf(t, 1); n != 0 {
		t.Errorf("user 1 holds %d", n)
	}
	if got := h.all(); len(got) != 0 {
		t.Fatal("calls of the unknown user were handled:", got)
	}
	release := make(chan struct{})
	q.mu.Lock()
	q.handle = func(c *connection, m *wire.Message) {
		<-release
		h.record(c, m)
	}
	q.mu.Unlock()
	if name := who.answer(1, true); name != "a" {
		t.Error("asked for", name)
	}
	if one, unknown := q.shareOf(t, 1), q.shareOf(t, -1); one != 250*call || unknown != 125*call {
		t.Errorf("user 1 holds %d, the unknown user %d", one, unknown)
	}
	// User 1 may hold 437, half of 875. Of the remaining 187 its other connection may hold half.
	if n := fill("known"); n != 93 {
		t.Errorf("accepted %d calls of another connection of user 1, want 93", n)
	}
	// If the bus cannot identify a connection, it stays with the unknown user, and is handled.
	who.answer(7, false)
	if n := q.shareOf(t, -1); n != 125*call {
		t.Errorf("the unknown user holds %d", n)
	}
	close(release)
	q.close()
	if got := len(h.all()); got != 250+125+93 {
		t.Errorf("%d calls were handled", got)
	}
	wantEmpty(t, q)
}

// shareOf returns the bytes that a user holds; -1 is the unknown user.
func (q *queue) shareOf(t *testing.T, uid int) int {
	t.Helper()
	key := userKey{}
	if uid >= 0 {
		key = userKey{uint32(uid), true}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if u := q.users[key]; u != nil {
		return u.bytes
	}
	return 0
}

// At most maxQuestions identifications run at a time, and there is one for each connection.
func TestQuestions(t *testing.T) {
	h := &handled{}
	q, who := testQueue(1<<20, h.record)
	q.start()
	const conns = 3*maxQuestions + 7
	for c := range conns {
		for i := range uint32(2) {
			mustOffer(t, q, newCall(fmt.Sprint("c", c), i, 300))
		}
	}
	for n := range conns {
		if got, want := who.asking(), min(maxQuestions, conns-n); got != want {
			t.Fatalf("after %d answers %d questions are open, want %d", n, got, want)
		}
		who.answer(uint32(n%5), n%3 != 0)
	}
	q.close()
	if got := h.all(); len(got) != 2*conns || who.total != conns {
		t.Errorf("%d calls were handled, after %d questions", len(got), who.total)
	}
	wantEmpty(t, q)
}

func TestLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q *queue
		q, who := testQueue(1<<20, func(c *connection, m *wire.Message) {
			time.Sleep(time.Duration(m.Serial) * time.Second)
			if m.Sender == "c" {
				q.hold(c)(func() { time.Sleep(7 * time.Second) })
			}
		})
		who.addKnown(1, "a", "b", "c")
		q.start()
		mustOffer(t, q, newCall("a", 10, 300))
		mustOffer(t, q, newCall("a", 10, 300))
		mustOffer(t, q, newCall("b", 2, 300))
		mustOffer(t, q, newCall("c", 15, 300))
		start := time.Now()
		for _, test := range []struct{ at, longest int }{{1, 1}, {9, 9}, {11, 11}, {16, 6}, {19, 9}, {21, 6}, {23, 0}} {
			time.Sleep(time.Duration(test.at)*time.Second - time.Since(start))
			synctest.Wait()
			if got := q.longest(); got != time.Duration(test.longest)*time.Second {
				t.Errorf("after %d s the longest is %v, want %d s", test.at, got, test.longest)
			}
		}
		q.close()
	})
}

// A call that waits until the bus takes replies is not stuck.
func TestStuckIgnoresSlowBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, sock, ended := startOutbox()
		q, who := testQueue(1<<20, func(_ *connection, m *wire.Message) {
			_ = addTextReply(out, m.Serial, strings.Repeat("x", repliesLimit))
		})
		b := &Bus{out: out, queue: q}
		who.addKnown(1, "a", "b", "c")
		q.start()
		for _, name := range []string{"a", "b", "c"} {
			mustOffer(t, q, newCall(name, 1, 300))
		}
		for range 3 { // the first is written, the second waits in the outbox, the third for room
			time.Sleep(time.Minute)
			if got := b.Stuck(); got != 0 {
				t.Errorf("a call is stuck for %v", got)
			}
			sock.take()
		}
		q.close()
		out.close(errLeft)
		<-ended
	})
}
