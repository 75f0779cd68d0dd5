package dbusapi

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestListInterfaces(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		rows := []hub.Interface{
			{Ifindex: 3, Veth: "veth3", Name: "eth0", Pool: "tank", ID: "101", State: hub.LinkUp, Since: time.UnixMicro(1_700_000_000_000_123)},
			{Ifindex: 5, Veth: "veth5", Name: "eth1", Pool: "tank", ID: "101", State: hub.LinkNoCarrier},
			{Ifindex: 9, Veth: "veth9", Name: "eth0", Pool: "dozer", ID: "102", State: hub.LinkDown},
			{Ifindex: 12, Veth: "veth12", State: hub.LinkUp},
		}
		var changes []hub.InterfaceChange
		for _, row := range slices.Backward(rows) {
			changes = append(changes, hub.InterfaceChange{Interface: row})
		}
		if _, err := h.Commit(hub.Batch{Interfaces: changes}); err != nil {
			t.Fatal(err)
		}
		last := apitest.Commit(t, h, 3, "x")
		for _, test := range []struct {
			filter hub.Filter
			want   []hub.Interface
		}{
			{hub.Filter{}, rows},
			{apitest.Only(t, "pool", "tank"), rows[:2]},
			{apitest.Only(t, "id", "102"), rows[2:3]},
			{apitest.Only(t, "name", "eth0", "pool", "tank"), rows[:1]},
			{apitest.Only(t, "veth", "veth12"), rows[3:]},
			{apitest.Only(t, "pool", ""), rows[3:]},
			{apitest.Only(t, "veth", "none"), nil},
		} {
			got, cursor, err := c.Interfaces(apitest.Bounded(t), test.filter)
			if err != nil || !slices.Equal(got, test.want) || cursor != hub.FormatCursor(apitest.Epoch(h), last) {
				t.Errorf("%v: %+v at %s, %v", test.filter, got, cursor, err)
			}
		}
		for _, key := range []string{"type", "action", "source"} {
			_, _, err := c.Interfaces(apitest.Bounded(t), apitest.Only(t, key, "x"))
			wantFilterError(t, err, key, "pool, id, name, veth, ct_name")
		}
		raw := bus.ClientAs(t, 0)
		_, err := raw.Call(apitest.Bounded(t), apitest.MethodCall("ListInterfaces", "a{sv}", new(bustest.Body).Dict("state", "up")))
		wantFilterError(t, err, "state", "pool, id, name, veth, ct_name")
		_, err = raw.Call(apitest.Bounded(t), apitest.WaitCall("", 0, "state", "up"))
		wantFilterError(t, err, "state", "type, action, pool, id, source, name, veth, ct_name")
		// The exact bytes of a row.
		reply := apitest.OK(t, bus.ClientAs(t, bustest.NobodyUID), apitest.MethodCall("ListInterfaces", "a{sv}", new(bustest.Body).Dict("veth", "veth3")))
		want := new(bustest.Body).String(hub.FormatCursor(apitest.Epoch(h), last)).Array(8, func(b *bustest.Body) {
			b.Align(8).Uint32(3).String("veth3").String("eth0").String("tank").String("101").String("up").Array(8, func(b *bustest.Body) {
				b.Align(8).String("since").Variant("t", func(b *bustest.Body) { b.Uint64(1_700_000_000_000_123) })
			})
		})
		if reply.Signature != "sa(usssssa{sv})" || !slices.Equal(reply.Body, want.Bytes()) {
			t.Errorf("reply is %s %q, want %q", reply.Signature, reply.Body, want.Bytes())
		}
	})
}

// wantFilterError checks that an error names the invalid key of a filter and the allowed keys.
func wantFilterError(t *testing.T, err error, key, keys string) {
	t.Helper()
	apitest.WantError(t, err, wire.ErrInvalidFilter)
	if text := err.Error(); !strings.Contains(text, `"`+key+`"`) || !strings.HasSuffix(text, "; the keys are "+keys) {
		t.Errorf("the error is %q, want the keys %s", text, keys)
	}
}

func TestListContainers(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		apitest.Commit(t, h, 1, "state", "pool", "tank", "id", "102", "state", "stopped")
		apitest.Commit(t, h, 1, "state", "pool", "tank", "id", "101", "state", "running")
		apitest.Commit(t, h, 1, "state", "pool", "dozer", "id", "101", "state", "frozen")
		list := func(f hub.Filter) (rows []string, cursor string) {
			t.Helper()
			got, cursor, err := c.Containers(apitest.Bounded(t), f)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := h.Containers()
			for _, row := range got {
				rows = append(rows, row.Pool+" "+row.ID+" "+row.State)
				if !slices.ContainsFunc(want, func(w hub.Container) bool { return w.ID == row.ID && w.Time.Equal(row.Time) && w.Source == row.Source }) {
					t.Errorf("time or source of %+v", row)
				}
			}
			return rows, cursor
		}
		for _, test := range []struct {
			filter hub.Filter
			want   []string
		}{
			{hub.Filter{}, []string{"dozer 101 frozen", "tank 101 running", "tank 102 stopped"}},
			{apitest.Only(t, "id", "101"), []string{"dozer 101 frozen", "tank 101 running"}},
			{apitest.Only(t, "pool", "tank", "id", "101"), []string{"tank 101 running"}},
			{apitest.Only(t, "pool", "none"), nil},
		} {
			got, cursor := list(test.filter)
			if !slices.Equal(got, test.want) || cursor != hub.FormatCursor(apitest.Epoch(h), 3) {
				t.Errorf("%v: %v at %s, want %v", test.filter, got, cursor, test.want)
			}
		}
		for _, key := range []string{"type", "name", "veth"} {
			_, _, err := c.Containers(apitest.Bounded(t), apitest.Only(t, key, "x"))
			wantFilterError(t, err, key, "pool, id, ct_name")
		}
	})
}

// A list plus the events after its cursor is the current state, also with concurrent commits.
func TestListAndEvents(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		c := dial(t, bus)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 2000 {
				e, err := hub.NewEvent("state", apitest.Options("pool", "p", "id", strconv.Itoa(i%7), "state", strconv.Itoa(i)), "test")
				if err == nil {
					_, err = h.Commit(hub.Batch{Events: []*hub.Event{e}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
		type start struct {
			state  map[string]string
			cursor string
		}
		var starts []start
		for range 20 {
			rows, cursor, err := c.Containers(apitest.Bounded(t), hub.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			s := start{map[string]string{}, cursor}
			for _, row := range rows {
				s.state[row.ID] = row.State
			}
			starts = append(starts, s)
		}
		apitest.Await(t, "the commits", done)
		want := map[string]string{}
		rows, _ := h.Containers()
		for _, row := range rows {
			want[row.ID] = row.State
		}
		for _, s := range starts {
			for {
				next, events, err := c.WaitEvents(apitest.Bounded(t), s.cursor, hub.Filter{}, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					s.state[e.ID] = e.Action
				}
				if s.cursor = next; len(events) == 0 {
					break
				}
			}
			if !maps.Equal(s.state, want) {
				t.Errorf("list and events are %v, the state is %v", s.state, want)
			}
		}
	})
}
