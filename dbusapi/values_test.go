package dbusapi

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// uint16Value appends an n or a q.
func uint16Value(b *bustest.Body, v uint16) {
	b.Align(2)
	if b.BigEndian {
		b.Raw(binary.BigEndian.AppendUint16(nil, v)...)
		return
	}
	b.Raw(binary.LittleEndian.AppendUint16(nil, v)...)
}

// everyType appends the entries of an a{sv} with a value of each type.
func everyType(b *bustest.Body) {
	entry := func(name, signature string, build func(b *bustest.Body)) {
		b.Align(8).String(name).Variant(signature, build)
	}
	text := func(b *bustest.Body, s ...string) {
		b.Array(4, func(b *bustest.Body) {
			for i := range s {
				b.String(s[i])
			}
		})
	}
	entry("byte", "y", func(b *bustest.Body) { b.Byte(0xfe) })
	entry("bool", "b", func(b *bustest.Body) { b.Bool(true) })
	entry("int16", "n", func(b *bustest.Body) { uint16Value(b, 0xfffe) })
	entry("uint16", "q", func(b *bustest.Body) { uint16Value(b, 0xfffe) })
	entry("int32", "i", func(b *bustest.Body) { b.Uint32(0xfffffffe) })
	entry("uint32", "u", func(b *bustest.Body) { b.Uint32(0xfffffffe) })
	entry("int64", "x", func(b *bustest.Body) { b.Uint64(1<<64 - 2) })
	entry("uint64", "t", func(b *bustest.Body) { b.Uint64(1<<64 - 2) })
	entry("double", "d", func(b *bustest.Body) { b.Uint64(0x400921fb54442d18) })
	entry("string", "s", func(b *bustest.Body) { b.String("žluť") })
	entry("path", "o", func(b *bustest.Body) { b.String("/a/b_1") })
	entry("signature", "g", func(b *bustest.Body) { b.Signature("a{s(iv)}") })
	entry("bytes", "ay", func(b *bustest.Body) { b.Array(1, func(b *bustest.Body) { b.Raw(0, 0xff, 7) }) })
	entry("nobytes", "ay", func(b *bustest.Body) { b.Array(1, func(*bustest.Body) {}) })
	entry("texts", "as", func(b *bustest.Body) { text(b, "x", "", "yz") })
	entry("none", "as", func(b *bustest.Body) { text(b) })
	entry("empty", "a{tv}", func(b *bustest.Body) { b.Array(8, func(*bustest.Body) {}) })
	entry("dict", "a{sv}", func(b *bustest.Body) { b.Dict("a", "1", "b", "2") })
	entry("numbers", "a{yx}", func(b *bustest.Body) {
		b.Array(8, func(b *bustest.Body) {
			b.Align(8).Byte(1).Uint64(2)
			b.Align(8).Byte(3).Uint64(4)
		})
	})
	entry("struct", "(y(nas)t)", func(b *bustest.Body) {
		b.Align(8).Byte(1).Align(8)
		uint16Value(b, 2)
		text(b, "in")
		b.Uint64(3)
	})
	entry("structs", "a(sy)", func(b *bustest.Body) {
		b.Array(8, func(b *bustest.Body) {
			b.Align(8).String("one").Byte(1)
			b.Align(8).String("two").Byte(2)
		})
	})
	entry("variant", "v", func(b *bustest.Body) {
		b.Signature("v")
		b.Variant("(uv)", func(b *bustest.Body) {
			b.Align(8).Uint32(5).Variant("t", func(b *bustest.Body) { b.Uint64(6) })
		})
	})
	entry("variants", "av", func(b *bustest.Body) {
		b.Array(1, func(b *bustest.Body) {
			b.Variant("s", func(b *bustest.Body) { b.String("s") })
			b.Variant("u", func(b *bustest.Body) { b.Uint32(9) })
		})
	})
}

// Reports of both byte orders keep the exact types and bytes of values in the signal
// and in the reply of WaitEvents.
func TestEveryType(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		h := apitest.NewHub(t, hub.Config{})
		serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		c := bus.ClientAs(t, 0)
		for i, bigEndian := range []bool{false, true} {
			call := apitest.MethodCall("Report", "sa{sv}", (&bustest.Body{BigEndian: bigEndian}).String("x").Array(8, everyType))
			if seq := apitest.Body(apitest.OK(t, c, call)).Uint64(); seq != uint64(i+1) {
				t.Fatal("number is", seq)
			}
			e := r.Until(t, i+1)[i]
			want := apitest.AsEvent(new(bustest.Body), e, everyType).Bytes()
			if got := r.Raw[i].Body; !bytes.Equal(got, want) {
				t.Errorf("big endian %v: the body of the signal is\n%q, want\n%q", bigEndian, got, want)
			}
			before, after := hub.FormatCursor(apitest.Epoch(h), uint64(i)), hub.FormatCursor(apitest.Epoch(h), uint64(i+1))
			wait := &bustest.Body{BigEndian: bigEndian}
			wait.String(before).Array(8, func(b *bustest.Body) {
				b.Align(8).String("type").Variant("as", func(b *bustest.Body) {
					b.Array(4, func(b *bustest.Body) { b.String("y").String("x") })
				})
			}).Uint32(1).Uint32(0)
			reply := apitest.OK(t, c, apitest.MethodCall("WaitEvents", "sa{sv}uu", wait))
			want = new(bustest.Body).String(after).Array(8, func(b *bustest.Body) { apitest.AsEvent(b.Align(8), e, everyType) }).Bytes()
			if reply.Signature != "sa("+wire.EventType+")" || !bytes.Equal(reply.Body, want) {
				t.Errorf("big endian %v: the reply is %s\n%q, want\n%q", bigEndian, reply.Signature, reply.Body, want)
			}
		}
		batch := &bustest.Body{BigEndian: true}
		batch.Array(8, func(b *bustest.Body) {
			b.Align(8).String("x").Array(8, everyType)
			b.Align(8).String("x").Dict("b", "2")
		})
		apitest.OK(t, c, apitest.MethodCall("ReportBatch", "a(sa{sv})", batch))
		events := r.Until(t, 4)
		if got := events[3].Options.Text("b"); got != "2" || !bytes.Equal(r.Raw[2].Body, apitest.AsEvent(new(bustest.Body), events[2], everyType).Bytes()) {
			t.Errorf("a batch in big endian became %q", r.Raw[2].Body)
		}
	})
}
