package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// captures returns whole messages that godbus, in both byte orders, and bustest
// encode.
func captures(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	options := map[string]dbus.Variant{
		"pool": dbus.MakeVariant("tank"), "id": dbus.MakeVariant("101"), "state": dbus.MakeVariant("running"),
		"init_pid": dbus.MakeVariant(int32(4711)), "opts": dbus.MakeVariant(map[string]dbus.Variant{"password": dbus.MakeVariant("x"), "list": dbus.MakeVariant([]string{"a", "b"})}),
		"nested": dbus.MakeVariant(dbus.MakeVariant(struct {
			A byte
			B []uint64
			C float64
			D []byte
			E dbus.ObjectPath
		}{1, []uint64{2}, 3, []byte{4}, "/a/b"})),
	}
	filter := map[string]dbus.Variant{"type": dbus.MakeVariant("ct_netif"), "id": dbus.MakeVariant([]string{"101", "102"})}
	type event struct {
		Type, Action, Pool, ID, Source string
		Seq, Time                      uint64
		Options                        map[string]dbus.Variant
	}
	for _, body := range [][]any{
		{"state", options},
		{[]struct {
			Type    string
			Options map[string]dbus.Variant
		}{{"state", options}, {"db", nil}}},
		{"oldest", filter, uint32(0), uint32(60000)},
		{filter},
		{"0af:1", []event{{"state", "running", "tank", "101", "uid:0", 1, 2, options}}},
		nil,
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			m := dbus.Message{Type: dbus.TypeMethodCall, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/osctl/Eventd")), dbus.FieldInterface: dbus.MakeVariant("org.osctl.Eventd"),
				dbus.FieldMember: dbus.MakeVariant("Report"), dbus.FieldDestination: dbus.MakeVariant("org.osctl.Eventd"), dbus.FieldSender: dbus.MakeVariant(":1.7"),
			}}
			if body != nil {
				m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
			}
			var out bytes.Buffer
			if err := m.EncodeTo(&out, order); err != nil {
				tb.Fatal(err)
			}
			all = append(all, out.Bytes())
		}
	}
	hostile := func(signature string, build func(b *bustest.Body)) {
		m := bustest.MethodCall("org.osctl.Eventd", "/org/osctl/Eventd", "org.osctl.Eventd", "Report")
		m.Serial, m.Signature, m.Body = 1, signature, []byte(body(build))
		all = append(all, m.Marshal())
	}
	none := func(*bustest.Body) {}
	hostile("ah", func(b *bustest.Body) { b.Array(4, func(b *bustest.Body) { b.Uint32(0) }) })
	hostile("v", nested(62, "as", func(b *bustest.Body) { b.Array(4, none) }))
	hostile("a{sv}", option("x", "v", nested(8, "at", func(b *bustest.Body) { b.Array(8, none) })))
	hostile("a{sv}", option("x", "a{sh}", func(b *bustest.Body) { b.Array(8, none) }))
	hostile("aa(y)a{ss}", func(b *bustest.Body) {
		b.Array(4, func(b *bustest.Body) { b.Array(8, none) }).Array(8, none)
	})
	return all
}

// FuzzMessage decodes any frame. It must not panic, nor return more values than
// the frame has bytes. Encoding the values again gives equal values, and for
// little endian the same bytes.
func FuzzMessage(f *testing.F) {
	for _, raw := range captures(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		header, size, err := Sizes(raw)
		if err != nil {
			if !errors.Is(err, errHeader) {
				t.Fatal(err)
			}
			return
		}
		if header+size > len(raw) {
			return
		}
		h, err := ParseHeader(raw[:header])
		if err != nil {
			if !errors.Is(err, errHeader) || h != nil {
				t.Fatalf("%v, %v", h, err)
			}
			return
		}
		if checkSignature(h.Signature) != nil {
			return
		}
		text := string(raw[header : header+size])
		d := NewDecoder(text, h.BigEndian)
		values := d.fields(h.Signature, maxTotalNesting)
		n := 0
		for _, v := range values {
			n += count(v)
		}
		// A struct around a byte takes no further byte, and 32 may be nested.
		if n > 33*(len(text)+1) {
			t.Errorf("%d values of %d bytes of %q", n, len(text), h.Signature)
		}
		if d.Finish() != nil {
			return
		}
		again := NewEncoder(nil)
		for _, v := range values {
			again.Value(v)
		}
		if !h.BigEndian {
			if string(again.Bytes) != text {
				t.Errorf("%q: %q became %q", h.Signature, text, again.Bytes)
			}
			return
		}
		d = NewDecoder(string(again.Bytes), false)
		for _, want := range values {
			if got := d.Value(want.Type(), maxTotalNesting); dump(got) != dump(want) {
				t.Errorf("%s became %s", dump(want), dump(got))
			}
		}
		if err := d.Finish(); err != nil {
			t.Error(err)
		}
	})
}

// bodiesOf returns the bodies of captures from their argument of this type on.
func bodiesOf(tb testing.TB, argument string) (bodies []string, bigs []bool) {
	tb.Helper()
	for _, raw := range captures(tb) {
		h, d := parse(tb, raw)
		if strings.HasPrefix(h.Signature, "s"+argument) {
			_ = d.String()
			d.take(0, 8)
		} else if !strings.HasPrefix(h.Signature, argument) {
			continue
		}
		// Alignment counts from the start of the body, a multiple of 8.
		bodies, bigs = append(bodies, d.body[d.pos&^7:]), append(bigs, h.BigEndian)
	}
	return bodies, bigs
}

// FuzzOptions decodes any bytes as the options of an event. A valid event must
// reach the client unchanged.
func FuzzOptions(f *testing.F) {
	bodies, bigs := bodiesOf(f, "a{sv}")
	for i := range bodies {
		f.Add(bodies[i], bigs[i])
	}
	f.Add(body(func(b *bustest.Body) { b.Dict("pool", "tank", "api_key", "x") }), false)
	f.Fuzz(func(t *testing.T, text string, big bool) {
		d := NewDecoder(text, big)
		options := d.Options("fuzz")
		if err := d.Finish(); err != nil {
			var invalid *hub.InvalidEventError
			if errors.As(err, &invalid) && (invalid.Type != "fuzz" || invalid.Expected == "") {
				t.Errorf("%#v", invalid)
			}
			return
		}
		event, err := hub.NewEvent("fuzz", options, "uid:0")
		if err != nil {
			return
		}
		event.Seq, event.Time = 7, time.UnixMicro(1_000_001)
		encoded := EncodeEvent(event)
		if len(encoded) > 4*len(text)+256 {
			t.Errorf("%d bytes became an event of %d", len(text), len(encoded))
		}
		e := NewEncoder(nil)
		e.Uint32(0) // an offset that needs padding
		e.Events([]*hub.Event{event, event})
		d = NewDecoder(string(e.Bytes), false)
		d.Uint32()
		got := d.Events()
		if err := d.Finish(); err != nil || len(got) != 2 {
			t.Fatalf("%d events, %v", len(got), err)
		}
		for _, again := range got {
			if again.Type != "fuzz" || again.Pool != event.Pool || again.ID != event.ID || again.Source != "uid:0" || again.Seq != 7 || !again.Time.Equal(event.Time) {
				t.Errorf("%+v", again)
			}
			if dumpOptions(again.Options) != dumpOptions(event.Options) {
				t.Errorf("got %s, want %s", dumpOptions(again.Options), dumpOptions(event.Options))
			}
		}
		wantGodbusAgrees(t, event)
	})
}

// wantGodbusAgrees checks that godbus decodes the signal of an event.
func wantGodbusAgrees(t *testing.T, event *hub.Event) {
	t.Helper()
	raw := message(EventType, func(e *Encoder) { e.Bytes = append(e.Bytes, EncodeEvent(event)...) })
	values, err := godbusReads(raw, EventType)
	if refusedKey(err) {
		return
	}
	if err != nil || len(values) != 8 {
		t.Fatalf("godbus: %d values, %v", len(values), err)
	}
	var items []hub.Value
	for _, option := range event.Options {
		items = append(items, hub.String(option.Name), hub.Variant(option.Value))
	}
	want := hub.Dict("s", "v", items)
	if hasDoubleKeys(want) {
		return
	}
	if dumpMap(values[7]) != dumpMap(want) {
		t.Errorf("godbus read %s, want %s", dumpMap(values[7]), dumpMap(want))
	}
	if values[0].Text() != event.Type || values[5].Uint() != event.Seq || values[6].Uint() != hub.Micros(event.Time) {
		t.Errorf("godbus read %v", values)
	}
}

// hasDoubleKeys reports whether a dict in v has doubles as keys. A Go map treats
// 0 and -0 as equal, and NaN as different from itself.
func hasDoubleKeys(v hub.Value) bool {
	if strings.HasPrefix(v.Type(), "a{d") {
		return true
	}
	return slices.ContainsFunc(v.Items(), hasDoubleKeys)
}

// FuzzFilter decodes any bytes as a filter. Encoding it again must give an equal
// filter.
func FuzzFilter(f *testing.F) {
	bodies, bigs := bodiesOf(f, "a{sv}")
	for i := range bodies {
		f.Add(bodies[i], bigs[i])
	}
	f.Fuzz(func(t *testing.T, text string, big bool) {
		d := NewDecoder(text, big)
		filter := d.Filter()
		if err := d.Finish(); err != nil {
			return
		}
		e := NewEncoder(nil)
		e.Filter(filter)
		d = NewDecoder(string(e.Bytes), false)
		again := d.Filter()
		if err := d.Finish(); err != nil || !reflect.DeepEqual(again, filter) {
			t.Errorf("%+v became %+v, %v", filter, again, err)
		}
		total := 0
		for _, key := range filter.Keys() {
			total += len(filter.Values(key))
		}
		if total > hub.MaxFilterValues || total*5 > len(text) {
			t.Errorf("%d values of %d bytes", total, len(text))
		}
	})
}
