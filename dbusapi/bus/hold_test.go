package bus

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// A held connection gets no turn until resume; others do.
func TestHold(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(map[bool]string{false: "resumed after Handle", true: "resumed within Handle"}[early], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &handled{}
				var q *queue
				var resume func(func())
				finish := func() { h.add("finish") }
				q, who := testQueue(1<<20, func(c *connection, m *wire.Message) {
					if id(m) == "a/0" {
						if resume = q.hold(c); early {
							resume(finish)
							time.Sleep(time.Second)
						}
					}
					h.record(c, m)
				})
				who.addKnown(1, "a", "b")
				q.start()
				for i := range uint32(3) {
					mustOffer(t, q, newCall("a", i, 300))
				}
				synctest.Wait()
				mustOffer(t, q, newCall("b", 0, 300))
				synctest.Wait()
				if early {
					if got := h.all(); !slices.Equal(got, []string{"b/0"}) {
						t.Error("while Handle runs:", got)
					}
				} else {
					if got := h.all(); !slices.Equal(got, []string{"a/0", "b/0"}) {
						t.Error("while it is held:", got)
					}
					mustOffer(t, q, newCall("a", 3, 300))
					synctest.Wait()
					if got := h.all(); len(got) != 2 {
						t.Error("after another call:", got)
					}
					resume(finish)
				}
				q.close()
				got := h.all()
				if early {
					got = got[1:]
				} else {
					got = slices.Delete(got, 1, 2)
				}
				if want := []string{"a/0", "finish", "a/1", "a/2", "a/3"}; !slices.Equal(got, want[:len(got)]) || len(got) < 4 {
					t.Errorf("%v, want %v", got, want)
				}
				wantEmpty(t, q)
			})
		})
	}
}

// Each call of a connection can be held.
func TestHoldAgain(t *testing.T) {
	h := &handled{}
	var q *queue
	q, who := testQueue(1<<20, func(c *connection, m *wire.Message) {
		h.record(c, m)
		resume := q.hold(c)
		go resume(func() { h.add(fmt.Sprint("finish ", m.Serial)) })
	})
	who.addKnown(1, "a")
	q.start()
	var want []string
	for i := range uint32(200) {
		want = append(want, fmt.Sprint("a/", i), fmt.Sprint("finish ", i))
		mustOffer(t, q, newCall("a", i, 300))
	}
	q.close()
	if got := h.all(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	wantEmpty(t, q)
}

// After abandon, a held call is finished when it is resumed, unless it was dropped before.
func TestResumeAfterAbandon(t *testing.T) {
	for _, when := range []string{"held", "resumed", "in Handle", "in Handle, resumed", "in finish"} {
		for _, drop := range []bool{false, true} {
			t.Run(when+map[bool]string{true: ", dropped"}[drop], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testResumeAfterAbandon(t, when, drop) })
			})
		}
	}
}

func testResumeAfterAbandon(t *testing.T, when string, drop bool) {
	h := &handled{}
	var q *queue
	var resume func(func())
	gate := make(chan struct{})
	finish := func() {
		h.add("finish")
		if when == "in finish" {
			<-gate
		}
	}
	q, who := testQueue(1<<20, func(c *connection, m *wire.Message) {
		h.record(c, m)
		if m.Sender == "busy" {
			<-gate
			return
		}
		if resume = q.hold(c); when == "in Handle, resumed" {
			resume(finish)
		}
		if strings.HasPrefix(when, "in Handle") {
			<-gate
		}
	})
	who.addKnown(1, "a", "busy")
	q.startWorker()
	mustOffer(t, q, newCall("a", 0, 300))
	mustOffer(t, q, newCall("a", 1, 300))
	synctest.Wait()
	want := []string{"a/0", "finish"}
	switch when {
	case "resumed": // while the only worker is busy
		mustOffer(t, q, newCall("busy", 0, 300))
		synctest.Wait()
		resume(finish)
		want = []string{"a/0", "busy/0", "finish"}
	case "in finish":
		resume(finish)
	default:
		if drop {
			want = want[:1]
		}
	}
	synctest.Wait()
	if left := q.abandon(); len(left) != 1 || id(left[0]) != "a/1" {
		t.Errorf("abandon returned %d calls, want a/1", len(left))
	}
	if drop {
		q.dropHeld()
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		q.close()
	}()
	synctest.Wait()
	select {
	case <-closed:
		if when != "held" || !drop {
			t.Error("close did not wait for a running or held call")
		}
	default:
		if when == "held" && drop {
			t.Error("close waits for a dropped call")
		}
	}
	if when == "held" || when == "in Handle" {
		resume(finish)
	}
	close(gate)
	<-closed
	if got := h.all(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	wantEmpty(t, q)
}

// With concurrent calls, holds and identifications, each call is handled once and in order.
func TestQueueStress(t *testing.T) {
	h := &handled{}
	var q *queue
	var resumes sync.WaitGroup
	q, who := testQueue(1<<20, func(c *connection, m *wire.Message) {
		h.record(c, m)
		if m.Serial%7 == 0 {
			resume := q.hold(c)
			resumes.Go(func() { resume(func() { h.add("finish " + id(m)) }) })
		}
	})
	q.start()
	stop := make(chan struct{})
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			if who.asking() > 0 {
				who.answer(uint32(rand.N(5)), rand.N(4) > 0)
				continue
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Microsecond):
			}
		}
	})
	want := map[string]int{}
	for i := range 20_000 {
		sender := fmt.Sprint("c", rand.N(100))
		m := newCall(sender, uint32(want[sender]), 300+rand.N(3000))
		if q.offer(m) == nil {
			want[sender]++
		}
		if i == 15_000 {
			apitest.Eventually(t, "the queue is empty", func() bool {
				q.mu.Lock()
				defer q.mu.Unlock()
				return len(q.conns) == 0
			})
		}
	}
	q.close()
	close(stop)
	answering.Wait()
	resumes.Wait()
	wantEmpty(t, q)
	next, held := map[string]int{}, map[string]string{}
	for _, got := range h.got {
		if call, ok := strings.CutPrefix(got, "finish "); ok {
			sender, _, _ := strings.Cut(call, "/")
			if held[sender] != call {
				t.Fatalf("%s was finished, held was %q", call, held[sender])
			}
			delete(held, sender)
			continue
		}
		sender, serial, _ := strings.Cut(got, "/")
		if held[sender] != "" || serial != fmt.Sprint(next[sender]) {
			t.Fatalf("%s was handled, want number %d; held is %q", got, next[sender], held[sender])
		}
		if next[sender]%7 == 0 {
			held[sender] = got
		}
		next[sender]++
	}
	for sender, n := range want {
		if next[sender] != n {
			t.Errorf("%d calls of %s were handled, want %d", next[sender], sender, n)
		}
	}
	if len(held) > 0 {
		t.Errorf("%d calls were never finished", len(held))
	}
}

// readCall returns a call as it is read from a connection.
func readCall(t *testing.T, m *bustest.Message) *wire.Message {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		_, _ = there.Write(m.Marshal())
	}()
	got, err := wire.NewConn(here).Read(func(*wire.Message) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A held call that is dropped while Handle runs keeps its arguments until it is resumed.
func TestDropKeepsArguments(t *testing.T) {
	var q *queue
	var resume func(func())
	entered, gate := make(chan struct{}), make(chan struct{})
	q, who := testQueue(1<<20, func(c *connection, _ *wire.Message) {
		close(entered)
		<-gate
		resume = q.hold(c)
	})
	who.addKnown(1, "a")
	q.startWorker()
	call := callOf("argument")
	call.Sender, call.Serial = "a", 1
	m := readCall(t, call)
	mustOffer(t, q, m)
	<-entered
	q.abandon()
	q.dropHeld()
	close(gate)
	q.close()
	wantEmpty(t, q)
	if got := m.Decoder().String(); got != "argument" {
		t.Errorf("before resume the argument is %q", got)
	}
	resume(func() { t.Error("a dropped call was finished") })
	if got := m.Frame(); got != nil {
		t.Errorf("after resume the call still has %q", got)
	}
}
