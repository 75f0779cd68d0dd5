package dbusapi

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/client"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

func TestSignalArguments(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		serve(t, bus, apitest.NewHub(t, hub.Config{}))
		all := apitest.Receive(t, bus, "")
		matched := map[string]*apitest.Receiver{}
		for _, rule := range []string{"arg0='state'", "arg1='up'", "arg2='tank'", "arg3='4711'", "arg3='101'", "arg4='nobody'", "arg0='ct_netif',arg3='101'"} {
			matched[rule] = apitest.Receive(t, bus, rule)
		}
		c := dial(t, bus)
		management := append(apitest.Options("cmd", "ct_start", "state", "run"),
			hub.Option{Name: "id", Value: hub.Int32(4711)}, hub.Option{Name: "opts", Value: hub.Dict("s", "v", nil)})
		for _, report := range []client.Report{
			{Type: "state", Options: apitest.Options("pool", "tank", "id", "101", "state", "running")},
			{Type: "ct_netif", Options: apitest.Options("pool", "tank", "id", "101", "action", "up", "name", "eth0")},
			{Type: "ct_netif", Options: apitest.Options("pool", "dozer", "id", "102", "action", "down", "name", "eth0")},
			{Type: "management", Options: management},
			{Type: "other", Options: apitest.Options("pool", "tank", "action", "up", "state", "x")},
			{Type: "last", Options: apitest.Options("pool", "tank", "id", "4711")},
		} {
			if _, err := c.Report(apitest.Bounded(t), report.Type, report.Options); err != nil {
				t.Fatal(err)
			}
		}
		events := all.Until(t, 6)
		apitest.WantRun(t, apitest.Seqs(events), 1, 6)
		var fields []string
		for i, e := range events {
			fields = append(fields, strings.Join([]string{e.Type, e.Action, e.Pool, e.ID}, " "))
			if e.Source != sourceOf(0) || e.Time.IsZero() { // times are of a clock that may be set back
				t.Errorf("event %d is from %q, at %v", e.Seq, e.Source, e.Time)
			}
			if m := all.Raw[i]; m.Signature != wire.EventType || m.Path != wire.Path || m.Destination != "" || m.BigEndian {
				t.Errorf("signal is %+v", m)
			}
		}
		want := []string{"state running tank 101", "ct_netif up tank 101", "ct_netif down dozer 102", "management run  4711", "other  tank ", "last  tank 4711"}
		if !slices.Equal(fields, want) {
			t.Errorf("arguments are %q, want %q", fields, want)
		}
		for i, e := range events { // the exact bytes of the body
			w := apitest.AsEvent(new(bustest.Body), e, func(b *bustest.Body) {
				for _, o := range e.Options {
					var v wire.Encoder
					v.Variant(o.Value)
					if o.Value.Kind() == hub.KindString {
						b.Align(8).String(o.Name).Variant("s", func(b *bustest.Body) { b.String(o.Value.Text()) })
					}
				}
			})
			if e.Type != "management" && !bytes.Equal(all.Raw[i].Body, w.Bytes()) {
				t.Errorf("the body is %q, want %q", all.Raw[i].Body, w.Bytes())
			}
		}
		got := map[string][]uint64{}
		wanted := map[string][]uint64{
			"arg0='state'": {1}, "arg1='up'": {2}, "arg2='tank'": {1, 2, 5, 6}, "arg3='4711'": {4, 6},
			"arg3='101'": {1, 2}, "arg4='nobody'": nil, "arg0='ct_netif',arg3='101'": {2},
		}
		for rule, r := range matched {
			r.Until(t, len(wanted[rule]))
			got[rule] = r.Seqs()
		}
		if !maps.EqualFunc(got, wanted, slices.Equal) {
			t.Errorf("matched were %v, want %v", got, wanted)
		}
	})
}

// The signals of a flood are in order and complete.
func TestSignalOrder(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		last := apitest.Commit(t, h, 10_000, "load", "id", "1")
		if lost := r.WantAll(t, 1, last); lost > 0 {
			t.Error("lost were", lost)
		}
	})
}
