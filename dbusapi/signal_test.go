package dbusapi

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

func TestSignalArguments(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, newHub(t, hub.Config{}))
		all := receive(t, bus, "")
		matched := map[string]*receiver{}
		for _, rule := range []string{"arg0='state'", "arg1='up'", "arg2='tank'", "arg3='4711'", "arg3='101'", "arg4='nobody'", "arg0='ct_netif',arg3='101'"} {
			matched[rule] = receive(t, bus, rule)
		}
		c := dial(t, bus)
		management := append(options("cmd", "ct_start", "state", "run"),
			hub.Option{Name: "id", Value: hub.Int32(4711)}, hub.Option{Name: "opts", Value: hub.Dict("s", "v", nil)})
		for _, report := range []Report{
			{"state", options("pool", "tank", "id", "101", "state", "running")},
			{"ct_netif", options("pool", "tank", "id", "101", "action", "up", "name", "eth0")},
			{"ct_netif", options("pool", "dozer", "id", "102", "action", "down", "name", "eth0")},
			{"management", management},
			{"other", options("pool", "tank", "action", "up", "state", "x")},
			{"last", options("pool", "tank", "id", "4711")},
		} {
			if _, err := c.Report(bounded(t), report.Type, report.Options); err != nil {
				t.Fatal(err)
			}
		}
		events := all.until(t, 6)
		wantRun(t, seqs(events), 1, 6)
		var fields []string
		for i, e := range events {
			fields = append(fields, strings.Join([]string{e.Type, e.Action, e.Pool, e.ID}, " "))
			if e.Source != sourceOf(0) || e.Time.IsZero() { // times are of a clock that may be set back
				t.Errorf("event %d is from %q, at %v", e.Seq, e.Source, e.Time)
			}
			if m := all.raw[i]; m.Signature != wire.EventType || m.Path != Path || m.Destination != "" || m.BigEndian {
				t.Errorf("signal is %+v", m)
			}
		}
		want := []string{"state running tank 101", "ct_netif up tank 101", "ct_netif down dozer 102", "management run  4711", "other  tank ", "last  tank 4711"}
		if !slices.Equal(fields, want) {
			t.Errorf("arguments are %q, want %q", fields, want)
		}
		for i, e := range events { // the body is exactly the layout, and nothing else
			w := asEvent(new(bustest.Body), e, func(b *bustest.Body) {
				for _, o := range e.Options {
					var v wire.Encoder
					v.Variant(o.Value)
					if o.Value.Kind() == hub.KindString {
						b.Align(8).String(o.Name).Variant("s", func(b *bustest.Body) { b.String(o.Value.Text()) })
					}
				}
			})
			if e.Type != "management" && !bytes.Equal(all.raw[i].Body, w.Bytes()) {
				t.Errorf("the body is %q, want %q", all.raw[i].Body, w.Bytes())
			}
		}
		got := map[string][]uint64{}
		wanted := map[string][]uint64{
			"arg0='state'": {1}, "arg1='up'": {2}, "arg2='tank'": {1, 2, 5, 6}, "arg3='4711'": {4, 6},
			"arg3='101'": {1, 2}, "arg4='nobody'": nil, "arg0='ct_netif',arg3='101'": {2},
		}
		for rule, r := range matched {
			r.until(t, len(wanted[rule]))
			got[rule] = r.seqs()
		}
		if !maps.EqualFunc(got, wanted, slices.Equal) {
			t.Errorf("matched were %v, want %v", got, wanted)
		}
	})
}

func TestSecrets(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, newHub(t, hub.Config{}))
		r := receive(t, bus, "")
		c := bus.ClientAs(t, 0)
		const secret = "hunter2"
		ok(t, c, methodCall("Report", "sa{sv}", new(bustest.Body).String("management").Array(8, func(b *bustest.Body) {
			text := func(name, value string) {
				b.Align(8).String(name).Variant("s", func(b *bustest.Body) { b.String(value) })
			}
			text("id", "1")
			text("cmd", "user_passwd")
			text("state", "run")
			text("api-token", secret)
			b.Align(8).String("opts").Variant("a{sv}", func(b *bustest.Body) {
				b.Array(8, func(b *bustest.Body) {
					text("user", "joe")
					text("PassWord", secret)
					b.Align(8).String("deeper").Variant("av", func(b *bustest.Body) {
						b.Array(1, func(b *bustest.Body) {
							b.Variant("a{sv}", func(b *bustest.Body) { b.Dict("private_key", secret, "n", "kept") })
						})
					})
				})
			})
		})))
		r.until(t, 1)
		reply := ok(t, c, waitCall(hub.CursorOldest, 0))
		for what, b := range map[string][]byte{"signal": r.raw[0].Body, "reply": reply.Body} {
			if bytes.Contains(b, []byte(secret)) || bytes.Count(b, []byte(hub.Redacted)) != 3 || !bytes.Contains(b, []byte("kept")) || !bytes.Contains(b, []byte("joe")) {
				t.Errorf("the %s tells %q", what, b)
			}
		}
	})
}

// Signals of a flood are in order and none is missing.
func TestSignalOrder(t *testing.T) {
	eachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{})
		serve(t, bus, h)
		r := receive(t, bus, "")
		last := commit(t, h, 10_000, "load", "id", "1")
		if lost := r.wantAll(t, 1, last); lost > 0 {
			t.Error("lost were", lost)
		}
	})
}

// Who waits for answers does not report faster than the signals go out, however many
// reports, or small batches, are under way: none are left out, though the hub keeps far
// fewer events.
func TestSignalsKeepUp(t *testing.T) {
	eachBus(t, func(t *testing.T, bus *bustest.Bus) {
		h := newHub(t, hub.Config{History: 4096})
		serve(t, bus, h)
		s := startSubscriber(t, bus)
		for _, name := range []string{"100 under way", "100 batches of 30 under way"} {
			flood := startFlood(t, bus, 0, name)
			before := h.Status().Last
			flood.on(t)
			eventually(t, "there were many reports", func() bool { return h.Status().Last > before+20_000 })
			flood.off(t)
			if n := s.all(t, h); n.Lapped > 0 {
				t.Fatalf("%s: of %d signals %d were left out", name, n.Events+n.Lapped, n.Lapped)
			}
		}
	})
}

// While a dbus-daemon refuses calls of a reporter and others call, the connection knows that
// signals are to stand back.
func TestSignalsStandBack(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	service := serve(t, bus, newHub(t, hub.Config{})).Service
	out := service.current.Load().conn.out
	c := dial(t, bus)
	flood := startFlood(t, bus, 0, "all at once")
	flood.on(t)
	defer flood.off(t)
	eventually(t, "signals stand back", func() bool {
		if _, err := c.Report(bounded(t), "load", nil); err != nil {
			t.Fatal(err)
		}
		return out.strain() == refusing
	})
}

// While a reporter crowds and others call, the connection knows that somebody is to be spared.
func TestSignalsSpare(t *testing.T) {
	eachBus(t, func(t *testing.T, bus *bustest.Bus) {
		service := serve(t, bus, newHub(t, hub.Config{})).Service
		out := service.current.Load().conn.out
		if out.strain() != unstrained {
			t.Error("somebody is to be spared before anybody has called")
		}
		c := dial(t, bus)
		flood := startFlood(t, bus, 0, "100 under way")
		flood.on(t)
		defer flood.off(t)
		eventually(t, "somebody is to be spared", func() bool {
			if _, err := c.Report(bounded(t), "load", nil); err != nil {
				t.Fatal(err)
			}
			return out.strain() == uneven
		})
	})
}
