package bus

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// abandon returns the calls of the connection with the fewest first.
func TestAbandonFewestFirst(t *testing.T) {
	q, who := testQueue(1<<20, nil)
	who.addKnown(1, "a", "b")
	var want []string
	for n, sender := range []string{"c", "a", "d", "b"} {
		for i := range uint32(5 * (n + 1)) {
			want = append(want, fmt.Sprintf("%s/%d", sender, i))
		}
	}
	for i := range uint32(20) {
		for n, sender := range []string{"c", "a", "d", "b"} {
			if i < uint32(5*(n+1)) {
				mustOffer(t, q, newCall(sender, i, 300))
			}
		}
	}
	var got []string
	for _, m := range q.abandon() {
		got = append(got, id(m))
	}
	if !slices.Equal(got, want) {
		t.Errorf("abandon returned %v", got)
	}
	for who.asking() > 0 { // late answers
		who.answer(2, true)
	}
	wantEmpty(t, q)
	if got := q.abandon(); len(got) != 0 {
		t.Error("abandon returned calls twice")
	}
	q.start()
	q.close()
}

// A stopping queue refuses further calls, and handles those it has, including held and unidentified ones.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handled{}
		var q *queue
		var resume func(func())
		q, who := testQueue(1<<20, func(c *connection, m *wire.Message) {
			h.record(c, m)
			if m.Sender == "held" {
				resume = q.hold(c)
			}
			time.Sleep(time.Second)
		})
		who.addKnown(1, "a", "held")
		q.start()
		for i := range uint32(3) {
			mustOffer(t, q, newCall("a", i, 300))
		}
		mustOffer(t, q, newCall("held", 0, 300))
		mustOffer(t, q, newCall("unknown", 0, 300))
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			q.stop()
		}()
		wantWaiting := func(what string) {
			t.Helper()
			synctest.Wait()
			select {
			case <-stopped:
				t.Fatal("stop did not wait for:", what)
			default:
			}
		}
		wantWaiting("calls")
		if err := q.admit(newCall("b", 0, 300)); !errors.Is(err, hub.ErrClosed) {
			t.Error("admit:", err)
		}
		if err := q.push(newCall("b", 0, 300)); !errors.Is(err, hub.ErrClosed) {
			t.Error("push:", err)
		}
		time.Sleep(10 * time.Second)
		wantWaiting("the held and the unidentified call")
		who.answer(2, true)
		time.Sleep(10 * time.Second)
		wantWaiting("the held call")
		resume(func() { h.add("finish") })
		<-stopped
		got := h.all()
		slices.Sort(got)
		if want := []string{"a/0", "a/1", "a/2", "finish", "held/0", "unknown/0"}; !slices.Equal(got, want) {
			t.Errorf("handled were %v", got)
		}
		wantEmpty(t, q)
		q.close()
	})
}

// After dropHeld, stop does not wait for a hung handler; close does.
func TestDropEndsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		q, who := testQueue(1<<20, func(*connection, *wire.Message) { <-gate })
		who.addKnown(1, "a")
		q.start()
		mustOffer(t, q, newCall("a", 0, 300))
		synctest.Wait()
		stopped, closed := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			q.stop()
		}()
		synctest.Wait()
		if left := q.abandon(); len(left) != 0 {
			t.Error("abandon returned a running call")
		}
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("stop did not wait for a running call")
		default:
		}
		q.dropHeld()
		<-stopped
		go func() {
			defer close(closed)
			q.close()
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("close did not wait for a running call")
		default:
		}
		close(gate)
		<-closed
	})
}
