package dbusapi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// announcement is a sent PropertiesChanged.
type announcement struct {
	at          time.Time
	changed     hub.Options
	invalidated []string
}

// text returns the names of the properties in an announcement.
func (a announcement) text() string {
	var names []string
	for _, p := range a.changed {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ") + "; " + strings.Join(a.invalidated, " ")
}

// announcing is a running announcer in a synctest bubble.
type announcing struct {
	t       *testing.T
	service *Service
	missing []string
	looks   int // reads of the properties
	sent    []announcement
	fails   error // of the next signal
	ended   chan error
}

func startAnnouncing(t *testing.T, h *hub.Hub) *announcing {
	t.Helper()
	a := &announcing{t: t, ended: make(chan error, 1)}
	service, err := New(Config{Hub: h, Log: quiet(), Missing: func() []string {
		a.looks++
		return a.missing
	}})
	if err != nil {
		t.Fatal(err)
	}
	a.service = service
	announcer := newAnnouncer(service)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		a.ended <- announcer.run(ctx, func(_ context.Context, changed hub.Options, invalidated []string) error {
			a.sent = append(a.sent, announcement{time.Now(), changed, invalidated})
			return a.fails
		})
	}()
	a.take()
	return a
}

// take waits until the announcer sleeps, and returns the announcements since its last call.
func (a *announcing) take() []announcement {
	a.t.Helper()
	time.Sleep(changesInterval + time.Nanosecond) // of the bubble's clock
	synctest.Wait()
	sent := a.sent
	a.sent = nil
	return sent
}

// want takes exactly one announcement.
func (a *announcing) want(what, text string) announcement {
	a.t.Helper()
	sent := a.take()
	if len(sent) != 1 || sent[0].text() != text {
		a.t.Fatalf("%s: sent %+v, want one of %q", what, sent, text)
	}
	return sent[0]
}

func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := apitest.NewHub(t, hub.Config{})
		a := startAnnouncing(t, h)
		if len(a.sent) != 0 {
			t.Errorf("sent %v at the start", a.sent)
		}
		const moving = "LastSequence Cursor Counters"
		apitest.Commit(t, h, 1, "x")
		a.want("events", "; "+moving)
		apitest.Commit(t, h, 1, "state", "pool", "p", "id", "1", "state", "running")
		got := a.want("a container", "ContainerCount; "+moving)
		wantValue(t, "ContainerCount", got.changed[0].Value, hub.Uint32(1))
		commitRow := func(state hub.LinkState) {
			row := hub.Interface{Ifindex: 1, State: state}
			if _, err := h.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: row}}}); err != nil {
				t.Fatal(err)
			}
		}
		commitRow(hub.LinkUp)
		a.want("a row", "InterfaceCount InterfacesRevision; ")
		commitRow(hub.LinkDown)
		got = a.want("a changed row", "InterfacesRevision; ")
		wantValue(t, "InterfacesRevision", got.changed[0].Value, hub.Uint64(h.InterfacesRevision()))
		commitRow(hub.LinkDown)
		h.Count(hub.CounterRefused, 0)
		if sent := a.take(); len(sent) != 0 {
			t.Errorf("sent %+v without a change", sent)
		}
		h.Count(hub.CounterRefused, 1)
		a.want("a counter", "; Counters")

		a.missing = []string{"a capability"}
		if err := a.service.Check(t.Context()); err != nil {
			t.Error(err)
		}
		got = a.want("what is missing", "Missing; ")
		wantValue(t, "Missing", got.changed[0].Value, hub.Strings("a capability"))

		a.fails = errors.New("the bus is lost")
		apitest.Commit(t, h, 1, "x")
		if err := <-a.ended; !errors.Is(err, a.fails) {
			t.Errorf("run ended with %v", err)
		}
	})
}

// With a change every 10 ms there is a signal each second, one after the last change, and then the announcer
// sleeps.
func TestChangesOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := apitest.NewHub(t, hub.Config{})
		a := startAnnouncing(t, h)
		const seconds = 10
		var last time.Time
		for range seconds * 100 {
			apitest.Commit(t, h, 1, "x")
			last = time.Now()
			time.Sleep(10 * time.Millisecond)
		}
		sent := a.take()
		if n := len(sent); n != seconds+1 || sent[n-1].at.Before(last) {
			t.Errorf("%d signals, the last at %v, after the last event at %v", n, sent[n-1].at, last)
		}
		for i := 1; i < len(sent); i++ {
			if gap := sent[i].at.Sub(sent[i-1].at); gap < time.Second {
				t.Errorf("signal %d came %v after the one before", i, gap)
			}
		}
		looks := a.looks
		time.Sleep(time.Hour)
		if sent := a.take(); len(sent) != 0 || a.looks != looks {
			t.Errorf("the announcer read the properties %d times without a change", a.looks-looks)
		}
	})
}

// A client of a real bus receives the signal.
func TestPropertiesChanged(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		c := bus.ClientAs(t, bustest.NobodyUID)
		rule := "type='signal',interface='" + propertiesInterface + "',path='" + wire.Path + "'"
		if _, err := c.CallDriver(apitest.Bounded(t), "AddMatch", "s", new(bustest.Body).String(rule)); err != nil {
			t.Fatal(err)
		}
		serve(t, bus, h)
		if _, err := h.Commit(hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: hub.Interface{Ifindex: 7}}}}); err != nil {
			t.Fatal(err)
		}
		apitest.Commit(t, h, 1, "x")
		// The changes of two commits may come in several signals.
		changed, invalidated := map[string]bool{}, map[string]bool{}
		for len(invalidated) < 3 || len(changed) < 2 {
			m, err := c.Receive(apitest.Bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != bustest.TypeSignal || m.Interface != propertiesInterface {
				continue
			}
			d := apitest.Body(m)
			iface, values, names := d.String(), d.Value("a{sv}", 8), d.Value("as", 1)
			if err := d.Finish(); err != nil || m.Signature != "sa{sv}as" || m.Path != wire.Path || iface != wire.Interface {
				t.Fatalf("%+v: %v", m, err)
			}
			for items := values.Items(); len(items) > 0; items = items[2:] {
				changed[items[0].Text()] = true
			}
			for _, name := range names.Items() {
				invalidated[name.Text()] = true
			}
		}
		if !changed["InterfaceCount"] || !changed["InterfacesRevision"] || !invalidated["LastSequence"] || !invalidated["Cursor"] || !invalidated["Counters"] {
			t.Errorf("changed are %v, invalidated %v", changed, invalidated)
		}
	})
}
