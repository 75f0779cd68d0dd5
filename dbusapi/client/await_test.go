package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// A state is reached before, during or after the start of a wait. Each wait ends, and returns a state that
// its container was in.
func TestAwaitRace(t *testing.T) {
	t.Parallel()
	const waits, workers = 3_000, 16
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	serve(t, bus, h)
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for {
				i := next.Add(1)
				if i > waits {
					return
				}
				if err := awaitOnce(t.Context(), h, bus.Address(), int(i)); err != nil {
					t.Errorf("wait %d: %v", i, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// awaitOnce waits for a container that another goroutine changes, half of the time for a short state.
func awaitOnce(ctx context.Context, h *hub.Hub, address string, i int) error {
	ctx, cancel := context.WithTimeout(ctx, apitest.Patience)
	defer cancel()
	id := fmt.Sprint(i)
	take := func(typ string, opts hub.Options) error {
		e, err := hub.NewEvent(typ, opts, "test")
		if err == nil {
			_, err = h.Commit(hub.Batch{Events: []*hub.Event{e}})
		}
		return err
	}
	report := func(state string) error {
		return take(hub.TypeState, apitest.Options("pool", "tank", "id", id, "state", state))
	}
	// The change comes from before to after the start of the wait.
	delay := time.Duration(i%97) * 20 * time.Microsecond
	reported := make(chan error, 1)
	go func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		<-timer.C
		err := report("starting")
		if err == nil {
			err = report("running")
		}
		if err == nil && i%2 == 0 {
			err = report("aborting") // the event of running is kept
		}
		reported <- err
	}()
	want := []string{"running", "frozen"}
	if i%2 == 0 {
		want = append(want, "aborting") // the state may be past running before the list
	}
	reached, err := Await{Address: address, Pool: "tank", ID: id}.State(ctx, want...)
	if err == nil && reached != "running" && (i%2 != 0 || reached != "aborting") {
		err = fmt.Errorf("reached %q", reached)
	}
	err = errors.Join(err, <-reported)
	// Remove the container to keep the lists short.
	return errors.Join(err, take(hub.TypeDB, apitest.Options("object", "container", "pool", "tank", "id", id, "action", "remove")))
}

func netif(t *testing.T, h *hub.Hub, action, name, renamed string, row hub.Interface, removed bool) {
	t.Helper()
	var more hub.Options
	if renamed != "" {
		more = apitest.Options("new_name", renamed)
	}
	commitNetif(t, h, action, name, row, removed, more...)
}

// commitNetif commits an event of the watcher with its row.
func commitNetif(t *testing.T, h *hub.Hub, action, name string, row hub.Interface, removed bool, more ...hub.Option) {
	t.Helper()
	opts := append(apitest.Options("pool", row.Pool, "id", row.ID, "action", action, "name", name), hub.Option{Name: "ifindex", Value: hub.Uint32(row.Ifindex)})
	opts = append(opts, more...)
	e, err := hub.NewEvent(hub.TypeNetif, opts, hub.SourceNetlink)
	if err == nil {
		_, err = h.Commit(hub.Batch{Events: []*hub.Event{e}, Interfaces: []hub.InterfaceChange{{Interface: row, Removed: removed}}})
	}
	if err != nil {
		t.Error(err) // not Fatal: it is called in other goroutines, too
	}
}

func TestAwaitLink(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	serve(t, bus, h)
	waits := monitorWaits(t, bus)
	begin := func(up bool) chan error {
		ended := make(chan error, 1)
		go func() {
			ended <- Await{Address: bus.Address(), Pool: "tank", ID: "1"}.Link(apitest.Bounded(t), "eth0", up)
		}()
		return ended
	}
	reached := func(what string, ended chan error) {
		t.Helper()
		if err := apitest.Await(t, what, ended); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	row := hub.Interface{Ifindex: 7, Veth: "v", Name: "eth0", Pool: "tank", ID: "1", State: hub.LinkUp}
	other := hub.Interface{Ifindex: 8, Veth: "w", Name: "eth0", Pool: "tank", ID: "1", State: hub.LinkUp}
	reached("a missing interface is not up", begin(false))

	up := begin(true)
	waits.until(t, 1)
	netif(t, h, "up", "eth1", "", hub.Interface{Ifindex: 9, Veth: "x", Name: "eth1", Pool: "tank", ID: "1", State: hub.LinkUp}, false)
	netif(t, h, "down", "eth1", "", hub.Interface{Ifindex: 9}, true)
	netif(t, h, "up", "eth0", "", row, false)
	reached("it comes up", up)
	reached("it is up", begin(true))

	// A second interface of the same name, as during a restart of a container.
	netif(t, h, "up", "eth0", "", other, false)
	down := begin(false)
	waits.until(t, 1)
	netif(t, h, "down", "eth0", "", row, true)
	select {
	case err := <-down:
		t.Error("the wait ended when one of two interfaces went down:", err)
	default:
	}
	renamed := other
	renamed.Name = "lan0"
	netif(t, h, "rename", "eth0", "lan0", renamed, false)
	reached("the second interface is renamed", down)
	up = begin(true)
	waits.until(t, 1)
	netif(t, h, "rename", "lan0", "eth0", other, false)
	reached("it is renamed back", up)

	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	ended := make(chan error, 1)
	go func() { ended <- Await{Address: bus.Address(), Pool: "tank", ID: "1"}.Link(ctx, "eth0", false) }()
	waits.until(t, 1)
	cancel()
	if err := apitest.Await(t, "the wait ends", ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A wait for down goes on while the interface passes to another container.
func TestAwaitLinkHandover(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	service := serve(t, bus, h)
	waits := monitorWaits(t, bus)
	back := make(chan Update, 16)
	begin := func(id string, up bool, waiting int) chan error {
		ended := make(chan error, 1)
		notice := func(u Update) {
			if u.Up {
				back <- u
			}
		}
		go func() {
			ended <- Await{Address: bus.Address(), Pool: "tank", ID: id, Notice: notice}.Link(apitest.Bounded(t), "eth0", up)
		}()
		waits.until(t, waiting)
		return ended
	}
	handover := hub.Option{Name: "handover", Value: hub.Bool(true)}
	row := func(id string, state hub.LinkState) hub.Interface {
		return hub.Interface{Ifindex: 7, Veth: "v", Name: "eth0", Pool: "tank", ID: id, State: state}
	}
	commitNetif(t, h, "up", "eth0", row("1", hub.LinkUp), false)
	down, up := begin("1", false, 1), begin("2", true, 2)
	commitNetif(t, h, "down", "eth0", row("1", hub.LinkNoCarrier), false, handover)
	commitNetif(t, h, "up", "eth0", row("2", hub.LinkUp), false, handover)
	if err := apitest.Await(t, "it is up for its next owner", up); err != nil {
		t.Error(err)
	}
	// The next service delivers the events, then lists the interface with the other container.
	if err := service.stop(t); err != nil {
		t.Error(err)
	}
	serve(t, bus, h)
	apitest.Await(t, "the service is back", back)
	waits.until(t, 1)
	select {
	case err := <-down:
		t.Fatal("the wait for down ended while the interface was up:", err)
	default:
	}
	commitNetif(t, h, "down", "eth0", row("2", hub.LinkDown), false)
	if err := apitest.Await(t, "it goes down with its next owner", down); err != nil {
		t.Error(err)
	}
}

// An interface goes up or down before, during or after the start of a wait.
func TestAwaitLinkRace(t *testing.T) {
	t.Parallel()
	const waits, workers = 2_000, 8
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	serve(t, bus, h)
	var next atomic.Uint32
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := next.Add(1); i <= waits; i = next.Add(1) {
				awaitLinkOnce(t, h, bus.Address(), i)
			}
		})
	}
	group.Wait()
}

// awaitLinkOnce waits for an interface that another goroutine sets up or down.
func awaitLinkOnce(t *testing.T, h *hub.Hub, address string, i uint32) {
	ctx, cancel := context.WithTimeout(t.Context(), apitest.Patience)
	defer cancel()
	row := hub.Interface{Ifindex: i, Veth: fmt.Sprint("v", i), Name: "eth0", Pool: "tank", ID: fmt.Sprint(i), State: hub.LinkUp}
	up := i%2 == 0
	if !up {
		netif(t, h, "up", "eth0", "", row, false)
	}
	var changed sync.WaitGroup
	changed.Go(func() {
		timer := time.NewTimer(time.Duration(i%97) * 20 * time.Microsecond)
		defer timer.Stop()
		<-timer.C
		if up {
			netif(t, h, "up", "eth0", "", row, false)
			return
		}
		down := row
		down.State = hub.LinkDown
		netif(t, h, "down", "eth0", "", down, false)
	})
	if err := (Await{Address: address, Pool: row.Pool, ID: row.ID}).Link(ctx, "eth0", up); err != nil {
		t.Errorf("wait %d, up %v: %v", i, up, err)
	}
	changed.Wait()
	rows, _ := h.Interfaces()
	if at := slices.IndexFunc(rows, func(r hub.Interface) bool { return r.Ifindex == i }); at < 0 || (rows[at].State == hub.LinkUp) != up {
		t.Errorf("wait %d for up %v ended, but the row at %d differs", i, up, at)
	}
	_, err := h.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: row, Removed: true}}})
	if err != nil {
		t.Error(err)
	}
}
