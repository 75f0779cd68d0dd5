package dbusapi

import (
	"encoding/binary"
	"strings"

	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// hostileBuild appends a part of a body.
type hostileBuild = func(b *bustest.Body)

func hostileCall(member, signature string, build hostileBuild) *bustest.Message {
	m := bustest.MethodCall(wire.Name, wire.Path, wire.Interface, member)
	b := &bustest.Body{}
	build(b)
	m.Signature, m.Body = signature, b.Bytes()
	return m
}

// hostileReport returns a Report of a type with the given options.
func hostileReport(typ string, options hostileBuild) *bustest.Message {
	return hostileCall("Report", "sa{sv}", func(b *bustest.Body) { options(b.String(typ)) })
}

// hostileOption returns a Report with one option.
func hostileOption(signature string, value hostileBuild) *bustest.Message {
	return hostileReport("evil", func(b *bustest.Body) {
		b.Array(8, func(b *bustest.Body) { b.Align(8).String("x").Variant(signature, value) })
	})
}

func hostileWait(cursor string, limit, timeout uint32, filter hostileBuild) *bustest.Message {
	return hostileCall("WaitEvents", "sa{sv}uu", func(b *bustest.Body) {
		b.String(cursor)
		filter(b)
		b.Uint32(limit).Uint32(timeout)
	})
}

// hostileFilter returns a ListContainers with a filter of one key.
func hostileFilter(key, signature string, value hostileBuild) *bustest.Message {
	return hostileCall("ListContainers", "a{sv}", func(b *bustest.Body) {
		b.Array(8, func(b *bustest.Body) { b.Align(8).String(key).Variant(signature, value) })
	})
}

// hostileNested nests a value in n variants.
func hostileNested(n int, signature string, value hostileBuild) hostileBuild {
	return func(b *bustest.Body) {
		for range n - 1 {
			b.Signature("v")
		}
		b.Variant(signature, value)
	}
}

func hostileEmpty(align int) hostileBuild {
	return func(b *bustest.Body) { b.Array(align, func(*bustest.Body) {}) }
}

func hostileText(s string) hostileBuild { return func(b *bustest.Body) { b.String(s) } }

func hostileRaw(s string) hostileBuild { return func(b *bustest.Body) { b.Raw([]byte(s)...) } }

// hostileMany appends an array of n items.
func hostileMany(align, n int, item hostileBuild) hostileBuild {
	return func(b *bustest.Body) {
		b.Array(align, func(b *bustest.Body) {
			for range n {
				item(b)
			}
		})
	}
}

// hostileEntries appends an a{sv} of n entries.
func hostileEntries(n int) hostileBuild {
	const entry = "\x01\x00\x00\x00x\x00\x01s\x00\x00\x00\x00\x01\x00\x00\x00v\x00" + "\x00\x00\x00\x00\x00\x00"
	return func(b *bustest.Body) {
		b.Array(8, hostileRaw(strings.Repeat(entry, n)[:n*len(entry)-6])) // the last one is not padded
	}
}

// hostileBytes appends an ay of n bytes.
func hostileBytes(n int) hostileBuild {
	return func(b *bustest.Body) { b.Array(1, hostileRaw(string(make([]byte, n)))) }
}

// hostileBatch returns a ReportBatch of n events with an option of size bytes.
func hostileBatch(n, size int) *bustest.Message {
	text := strings.Repeat("x", size)
	return hostileCall("ReportBatch", "a(sa{sv})", hostileMany(8, n, func(b *bustest.Body) { b.Align(8).String("evil").Dict("x", text) }))
}

// hostileSignal returns a unicast signal.
func hostileSignal(to, iface, member, signature string, build hostileBuild) *bustest.Message {
	m := hostileCall(member, signature, build)
	m.Type, m.Destination, m.Interface = bustest.TypeSignal, to, iface
	return m
}

// hostileField returns a message with another header field before the others.
func hostileField(m *bustest.Message, code byte, signature string, value hostileBuild) []byte {
	whole := m.Marshal()
	fields := whole[16 : 16+binary.LittleEndian.Uint32(whole[12:])]
	h := (&bustest.Body{}).Raw(whole[:12]...)
	h.Array(8, func(b *bustest.Body) {
		b.Align(8).Byte(code).Variant(signature, value)
		b.Align(8).Raw(fields...)
	})
	return append(h.Align(8).Bytes(), m.Body...)
}

// hostileOutcome returns the outcome for a reply.
func hostileOutcome(m *bustest.Message) string {
	if m.Type == bustest.TypeReturn {
		return hostileReply
	}
	name := m.ErrorName
	for _, prefix := range []string{wire.Name + ".Error.", "org.freedesktop.DBus.Error."} {
		name = strings.TrimPrefix(name, prefix)
	}
	if m.Sender == wire.BusName {
		return "bus " + name
	}
	return "service " + name
}
