package dbusapi

import (
	"strconv"
	"strings"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// hostileAttack is a message and its outcome for the attacker.
type hostileAttack struct {
	name      string
	want      string // outcome
	broker    string // outcome on a dbus-broker, if it differs
	message   *bustest.Message
	large     func() *bustest.Message // makes a large message when it is sent
	raw       []byte                  // sent instead of message, with the serial hostileSerial
	times     int                     // 10 if 0
	fds       int                     // attached
	negotiate bool

	// endsBroker is set if dbus-broker 33 itself exits when its policy refuses the message.
	endsBroker bool
}

// hostileSerial is the serial of messages in raw.
const hostileSerial = 0x70ff0000

// hostileAttacks returns the table of messages.
func hostileAttacks(h *hostileTarget) []hostileAttack {
	ping := bustest.MethodCall(wire.Name, wire.Path, "org.freedesktop.DBus.Peer", "Ping")
	ping.Serial = hostileSerial
	all := hostileTypeAttacks()
	all = append(all, hostileSizeAttacks()...)
	all = append(all, hostileContentAttacks()...)
	all = append(all, hostileHeaderAttacks(h, ping)...)
	return append(all, hostileTalkAttacks(h)...)
}

func hostileTypeAttacks() []hostileAttack {
	fd := func(b *bustest.Body) { b.Uint32(0) }
	fdArray := hostileMany(4, 1, fd)
	withFDs := func(m *bustest.Message, n uint32) *bustest.Message {
		m.UnixFDs = n
		return m
	}
	inner := func(b *bustest.Body) { b.Align(8).Byte(1) }
	parens := func(n int) string { return strings.Repeat("(", n) + "y" + strings.Repeat(")", n) }
	return []hostileAttack{
		// File descriptors.
		{name: "body ah", want: "service InvalidArgs", message: hostileCall("Report", "ah", fdArray)},
		{name: "body ah, empty", want: "service InvalidArgs", message: hostileCall("Report", "ah", hostileEmpty(4))},
		{name: "option ah", want: "service InvalidEvent", message: hostileOption("ah", fdArray)},
		{name: "option ah, empty", want: "service InvalidEvent", message: hostileOption("ah", hostileEmpty(4))},
		{name: "option h", want: "service InvalidEvent", message: hostileOption("h", fd)},
		{name: "option a{sh}", want: "service InvalidEvent", message: hostileOption("a{sh}", hostileEmpty(8))},
		{name: "option a{hs}", want: "service InvalidEvent", message: hostileOption("a{hs}", hostileEmpty(8))},
		{name: "option v of (sah)", want: "service InvalidEvent", message: hostileOption("v", func(b *bustest.Body) {
			b.Variant("(sah)", func(b *bustest.Body) { b.Align(8).String("a").Array(4, func(*bustest.Body) {}) })
		})},
		{name: "body a{sh}", want: "service InvalidArgs", message: hostileCall("Report", "a{sh}", hostileEmpty(8))},
		{name: "fds attached, negotiated", want: "bus NotSupported", broker: "bus Failed", message: withFDs(hostileOption("ah", fdArray), 1), fds: 1, negotiate: true},
		{name: "fds attached, negotiated, not in the body", want: "bus NotSupported", broker: "bus Failed", message: withFDs(hostileOption("s", hostileText("a")), 3), fds: 3, negotiate: true},
		{name: "fds attached, not negotiated", want: hostileCut, message: withFDs(hostileOption("ah", fdArray), 1), fds: 1},
		{name: "fds attached, not announced", want: hostileReply, message: hostileOption("s", hostileText("a")), fds: 1, negotiate: true},
		{name: "fds announced, not attached", want: hostileCut, message: withFDs(hostileOption("ah", fdArray), 1), negotiate: true},
		// Nesting.
		{name: "8 variants, empty array", want: hostileReply, message: hostileOption("v", hostileNested(7, "as", hostileEmpty(4)))},
		{name: "7 variants, empty array", want: hostileReply, message: hostileOption("v", hostileNested(6, "as", hostileEmpty(4)))},
		{name: "62 variants, empty array", want: "service InvalidEvent", broker: hostileCut, message: hostileOption("v", hostileNested(61, "as", hostileEmpty(4)))},
		{name: "63 variants, empty array", want: hostileCut, message: hostileOption("v", hostileNested(62, "as", hostileEmpty(4)))},
		{name: "64 variants, empty array", want: hostileCut, message: hostileOption("v", hostileNested(63, "as", hostileEmpty(4)))},
		{name: "60 variants, string", want: "service InvalidEvent", message: hostileOption("v", hostileNested(59, "s", hostileText("x")))},
		{name: "64 variants, string", want: hostileCut, message: hostileOption("v", hostileNested(63, "s", hostileText("x")))},
		{name: "10,000 variants", want: hostileCut, message: hostileOption("v", hostileNested(10_000, "s", hostileText("x")))},
		{name: "32 arrays", want: hostileReply, message: hostileOption(strings.Repeat("a", 32)+"y", hostileEmpty(4))},
		{name: "33 arrays", want: hostileCut, message: hostileOption(strings.Repeat("a", 33)+"y", hostileEmpty(4))},
		{name: "32 structs", want: "service InvalidEvent", message: hostileOption(parens(32), inner)},
		{name: "33 structs", want: hostileCut, message: hostileOption(parens(33), inner)},
		{name: "127 structs", want: hostileCut, message: hostileOption(parens(127), inner)},
		{name: "255 arrays", want: hostileCut, message: hostileOption(strings.Repeat("a", 254)+"y", hostileEmpty(4))},
		{name: "filter of nested variants", want: "service InvalidFilter", message: hostileFilter("id", "v", hostileNested(50, "s", hostileText("x")))},
		// Bodies that do not match the signature, or wrong signatures.
		{name: "empty body", want: "service InvalidArgs", message: hostileCall("Report", "", func(*bustest.Body) {})},
		{name: "empty body, right signature", want: hostileCut, message: hostileCall("Report", "sa{sv}", func(*bustest.Body) {})},
		{name: "left over", want: hostileCut, message: hostileReport("evil", func(b *bustest.Body) { b.Dict("x", "y").Raw(0, 0, 0) })},
		{name: "body without a signature", want: hostileCut, message: hostileCall("Report", "", hostileText("x"))},
		{name: "short dict", want: hostileCut, message: hostileReport("evil", hostileRaw("\x00\x00\x00\x40\x00\x00\x00"))},
		{name: "array longer than the body", want: hostileCut, message: hostileOption("ay", hostileRaw("\x00\x10\x00\x00"))},
		{name: "array of 63 MiB that is not there", want: hostileCut, message: hostileOption("at", func(b *bustest.Body) { b.Uint32(63 << 20).Align(8) })},
		{name: "array of 4 GiB that is not there", want: hostileCut, message: hostileOption("at", func(b *bustest.Body) { b.Uint32(0xffffffff).Align(8) })},
		{name: "array ends within an element", want: hostileCut, message: hostileOption("au", hostileRaw("\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))},
		{name: "inner array over the outer one", want: hostileCut, message: hostileOption("aay", hostileRaw("\x04\x00\x00\x00\x02\x00\x00\x00ab"))},
		{name: "string of 4 GiB that is not there", want: hostileCut, message: hostileOption("s", func(b *bustest.Body) { b.Uint32(0xffffffff).Raw('x', 0) })},
		{name: "variant of two types", want: hostileCut, message: hostileOption("ss", func(b *bustest.Body) { b.String("a").String("b") })},
		{name: "variant of no type", want: hostileCut, message: hostileOption("", func(*bustest.Body) {})},
		{name: "variant of dict entry", want: hostileCut, message: hostileOption("{sv}", func(b *bustest.Body) { b.Align(8).String("a").Variant("y", func(b *bustest.Body) { b.Byte(1) }) })},
		{name: "variant of half a type", want: hostileCut, message: hostileOption("a{s", hostileEmpty(8))},
		{name: "padding", want: hostileCut, message: hostileOption("(yt)", func(b *bustest.Body) { b.Align(8).Byte(1).Raw([]byte(strings.Repeat("\xff", 7))...).Uint64(1) })},
		{name: "boolean 2", want: hostileCut, message: hostileOption("b", func(b *bustest.Body) { b.Uint32(2) })},
		{name: "big endian garbage", want: hostileCut, raw: hostileBig(false)},
		{name: "big endian, well formed", want: hostileReply, raw: hostileBig(true)},
	}
}

// hostileBig returns a call in big endian: well formed, or with a body in little endian.
func hostileBig(good bool) []byte {
	b := &bustest.Body{BigEndian: good}
	b.String("evil").Dict("x", "y")
	m := bustest.MethodCall(wire.Name, wire.Path, wire.Interface, "Report")
	m.Serial, m.Signature, m.BigEndian, m.Body = hostileSerial, "sa{sv}", true, b.Bytes()
	return m.Marshal()
}

func hostileSizeAttacks() []hostileAttack {
	const mib = 1 << 20
	long := func(n int) string { return strings.Repeat("a", n) }
	variants := hostileMany(1, 262_000, func(b *bustest.Body) { b.Raw(1, 'y', 0, 7) })
	var names []string
	for i := range 65 {
		names = append(names, "o"+strconv.Itoa(i), "")
	}
	noDict := func(b *bustest.Body) { b.Dict() }
	values := func(n, size int) hostileBuild { return hostileMany(4, n, hostileText(long(size))) }
	return []hostileAttack{
		{name: "option of 31 MiB", want: "service TooLarge", large: func() *bustest.Message { return hostileOption("s", hostileText(long(31*mib))) }, times: 1},
		{name: "option of 32 MiB", want: hostileCut, broker: "service TooLarge", large: func() *bustest.Message { return hostileOption("s", hostileText(long(32*mib))) }, times: 1},
		{name: "option of 40 MiB", want: hostileCut, broker: "service TooLarge", large: func() *bustest.Message { return hostileOption("s", hostileText(long(40*mib))) }, times: 1},
		{name: "type of 31 MiB", want: "service TooLarge", large: func() *bustest.Message { return hostileReport(long(31*mib), noDict) }, times: 1},
		{name: "type of 1 MiB", want: "service InvalidEvent", large: func() *bustest.Message { return hostileReport(long(mib), noDict) }},
		{name: "cursor of 31 MiB", want: "service TooLarge", large: func() *bustest.Message { return hostileWait(long(31*mib), 0, 0, noDict) }, times: 1},
		{name: "cursor of 10 MB", want: "service TooLarge", large: func() *bustest.Message { return hostileWait(long(10_000_000), 0, 0, noDict) }, times: 3},
		{name: "cursor of 1 MiB", want: "service TooLarge", large: func() *bustest.Message { return hostileWait(long(mib), 0, 60_000, noDict) }},
		{name: "path of 30 MiB", endsBroker: true, want: hostileSilence, large: func() *bustest.Message {
			return bustest.MethodCall(wire.Name, "/"+long(30*mib), wire.Interface, "Report")
		}, times: 1},
		{name: "interface of 2 MiB", want: hostileCut, large: func() *bustest.Message { return bustest.MethodCall(wire.Name, wire.Path, "a."+long(2*mib), "Report") }},
		{name: "member of 900 KiB", want: hostileCut, large: func() *bustest.Message {
			return bustest.MethodCall(wire.Name, wire.Path, wire.Interface, long(900<<10))
		}},
		{name: "av of a million bytes", want: "service TooLarge", large: func() *bustest.Message { return hostileOption("av", variants) }},
		{name: "av of a million bytes, as the body", want: "service InvalidArgs", large: func() *bustest.Message { return hostileCall("Report", "av", variants) }},
		{name: "ay of a million bytes", want: "service TooLarge", large: func() *bustest.Message { return hostileOption("ay", hostileBytes(1_000_000)) }},
		{name: "ay of 8 MiB", want: "service TooLarge", large: func() *bustest.Message { return hostileOption("ay", hostileBytes(8*mib)) }, times: 3},
		{name: "dict of a million entries", want: "service TooLarge", large: func() *bustest.Message { return hostileReport("evil", hostileEntries(1_000_000)) }, times: 1},
		{name: "dict of 40,000 entries", want: "service TooLarge", large: func() *bustest.Message { return hostileReport("evil", hostileEntries(40_000)) }},
		{name: "65 options", want: "service TooLarge", large: func() *bustest.Message { return hostileReport("evil", func(b *bustest.Body) { b.Dict(names...) }) }},
		{name: "batch of 1,025", want: "service TooLarge", large: func() *bustest.Message { return hostileBatch(1025, 1) }},
		{name: "batch over 1 MiB", want: "service TooLarge", large: func() *bustest.Message { return hostileBatch(17, 61_700) }},
		{name: "batch of 2 MiB", want: "service TooLarge", large: func() *bustest.Message { return hostileBatch(40, 60_000) }},
		{name: "batch with an event over 64 KiB", want: "service TooLarge", large: func() *bustest.Message { return hostileBatch(2, 65<<10) }},
		{name: "batch of 100,000 that says nothing", want: "service InvalidEvent", large: func() *bustest.Message {
			return hostileCall("ReportBatch", "a(sa{sv})", hostileMany(8, 60_000, func(b *bustest.Body) { b.Align(8).String("").Dict() }))
		}},
		{name: "filter of 2,000 values", want: "service InvalidFilter", large: func() *bustest.Message { return hostileFilter("id", "as", values(2000, 5)) }},
		{name: "filter of 200,000 values", want: "service TooLarge", large: func() *bustest.Message { return hostileFilter("id", "as", values(200_000, 0)) }},
		{name: "filter of 1,024 values, 1 MB", want: "service TooLarge", message: hostileWait("", 0, 60_000, func(b *bustest.Body) {
			b.Array(8, func(b *bustest.Body) { b.Align(8).String("id").Variant("as", values(1024, 1000)) })
		})},
	}
}

func hostileContentAttacks() []hostileAttack {
	twice := func(b *bustest.Body) { b.Dict("x", "y", "x", "z") }
	typed := func(name string) hostileBuild { return func(b *bustest.Body) { b.Dict(name, "y") } }
	attacks := []hostileAttack{
		{name: "string not UTF-8", want: hostileCut, message: hostileOption("s", hostileText("\xff\xfe"))},
		{name: "surrogates", want: hostileCut, message: hostileOption("s", hostileText("\xed\xa0\x80"))},
		{name: "string with NUL", want: hostileCut, message: hostileOption("s", hostileText("a\x00b"))},
		{name: "path invalid", want: hostileCut, message: hostileOption("o", hostileText("a//b"))},
		{name: "path empty", want: hostileCut, message: hostileOption("o", hostileText(""))},
		{name: "signature invalid", want: hostileCut, message: hostileOption("g", func(b *bustest.Body) { b.Signature("a{") })},
		{name: "signature of fds", want: "service InvalidEvent", message: hostileOption("g", func(b *bustest.Body) { b.Signature("ah") })},
		{name: "type not UTF-8", want: hostileCut, message: hostileReport("\xff", typed("x"))},
		{name: "type no name", want: "service InvalidEvent", message: hostileReport("Not A wire.Name\n", typed("x"))},
		{name: "type empty", want: "service InvalidEvent", message: hostileReport("", typed("x"))},
		{name: "option no name", want: "service InvalidEvent", message: hostileReport("evil", typed("x y"))},
		{name: "option of no name", want: "service InvalidEvent", message: hostileReport("evil", typed(""))},
		{name: "option of no UTF-8", want: hostileCut, message: hostileReport("evil", typed("\xff"))},
		{name: "option with NUL", want: hostileCut, message: hostileReport("evil", typed("a\x00"))},
		{name: "option twice", want: "service InvalidEvent", message: hostileReport("evil", twice)},
		{name: "schema broken", want: "service InvalidEvent", message: hostileReport("state", typed("pool"))},
		{name: "cursor no cursor", want: "service InvalidCursor", message: hostileWait("%n%s\n", 0, 0, func(b *bustest.Body) { b.Dict() })},
		{name: "cursor of the future", want: "service Gone", message: hostileWait("0:18446744073709551615", 0, 0, func(b *bustest.Body) { b.Dict() })},
		{name: "filter key unknown", want: "service InvalidFilter", message: hostileFilter("nope", "s", hostileText("x"))},
		{name: "filter key twice", want: "service InvalidFilter", message: hostileCall("ListContainers", "a{sv}", func(b *bustest.Body) { b.Dict("id", "a", "id", "b") })},
		{name: "filter of numbers", want: "service InvalidFilter", message: hostileFilter("id", "at", hostileEmpty(8))},
		{name: "filter of fds", want: "service InvalidArgs", message: hostileFilter("id", "ah", hostileEmpty(4))},
		{name: "filter of no value", want: "service InvalidFilter", message: hostileFilter("id", "as", hostileEmpty(4))},
		{name: "filter not UTF-8", want: hostileCut, message: hostileFilter("id", "s", hostileText("\xff"))},
		{name: "filter key of another list", want: "service InvalidFilter", message: hostileFilter("veth", "s", hostileText("x"))},
	}
	// Every method with wrong arguments.
	for iface, members := range methods() {
		for member := range members {
			m := hostileCall(member, "ax", hostileMany(8, 3, func(b *bustest.Body) { b.Uint64(1) }))
			m.Interface = iface
			attacks = append(attacks, hostileAttack{name: "wrong signature of " + member, message: m, want: "service InvalidArgs"})
		}
	}
	return attacks
}

func hostileHeaderAttacks(h *hostileTarget, ping *bustest.Message) []hostileAttack {
	changed := func(change func(m *bustest.Message)) []byte {
		m := *ping
		change(&m)
		return m.Marshal()
	}
	bytes := func(at int, value byte) []byte {
		raw := ping.Marshal()
		raw[at] = value
		return raw
	}
	wait := apitest.WaitCall("", 0)
	wait.Serial = hostileSerial
	text := func(s string) hostileBuild { return hostileText(s) }
	manyVariants := func(n int) hostileBuild {
		return hostileMany(1, n, func(b *bustest.Body) { b.Raw(1, 'y', 0, 7) })
	}
	return []hostileAttack{
		{name: "sender is the bus", want: hostileReply, raw: changed(func(m *bustest.Message) { m.Sender = wire.BusName })},
		{name: "sender is another", want: hostileReply, raw: changed(func(m *bustest.Message) { m.Sender = h.root.Name() })},
		{name: "two senders", want: hostileReply, raw: hostileField(ping, 7, "s", text(wire.BusName))},
		{name: "two members", want: hostileCut, raw: hostileField(ping, 3, "s", text("Ping"))},
		{name: "member as number", want: hostileCut, raw: hostileField(bustestWithout(ping), 3, "u", func(b *bustest.Body) { b.Uint32(1) })},
		{name: "no member", want: hostileCut, raw: bustestWithout(ping).Marshal()},
		{name: "unknown field", want: hostileReply, raw: hostileField(ping, 99, "s", text("x"))},
		{name: "unknown field, half a MiB of variants", want: hostileReply, raw: hostileField(ping, 99, "av", manyVariants(128<<10))},
		{name: "unknown field, 2 MiB", want: hostileReply, broker: hostileSilence, raw: hostileField(ping, 99, "ay", hostileBytes(2<<20))},
		{name: "unknown field of fds", want: hostileReply, broker: hostileSilence, raw: hostileField(ping, 99, "ah", hostileEmpty(4))},
		{name: "unknown field, 60 variants", want: hostileReply, raw: hostileField(ping, 99, "v", hostileNested(58, "as", hostileEmpty(4)))},
		{name: "wait with an unknown field, 16 KiB", want: hostileReply, broker: "service TooLarge", raw: hostileField(wait, 99, "ay", hostileBytes(16<<10))},
		{name: "field 0", want: hostileCut, raw: hostileField(ping, 0, "s", text("x"))},
		{name: "message type 0", want: hostileCut, raw: bytes(1, 0)},
		{name: "message type 9", want: "bus AccessDenied", broker: hostileSilence, raw: bytes(1, 9)},
		{name: "all flags but one", want: hostileReply, raw: bytes(2, 0xfe)},
		{name: "protocol version 2", want: hostileCut, raw: bytes(3, 2)},
		{name: "byte order X", want: hostileCut, raw: bytes(0, 'X')},
		{name: "header of 4 GiB", want: hostileCut, raw: bytes(15, 0xff)},
		{name: "serial 0", want: hostileCut, raw: changed(func(m *bustest.Message) { m.Serial = 0 })},
		{name: "unknown member", want: "service UnknownMethod", message: bustest.MethodCall(wire.Name, wire.Path, wire.Interface, "Nope")},
		{name: "unknown interface", want: "service UnknownInterface", message: bustest.MethodCall(wire.Name, wire.Path, "a.b", "Report")},
		{name: "no interface, unknown member", want: "service UnknownMethod", message: bustest.MethodCall(wire.Name, wire.Path, "", "Nope")},
		{name: "no interface, wrong signature", want: "service InvalidArgs", message: bustest.MethodCall(wire.Name, wire.Path, "", "Report")},
		{name: "unknown path", want: "service UnknownObject", message: bustest.MethodCall(wire.Name, "/nope", wire.Interface, "Report")},
		{name: "path of the bus", want: "service UnknownInterface", message: bustest.MethodCall(wire.Name, wire.BusPath, wire.BusInterface, "Hello")},
		{name: "to the second connection", want: "bus AccessDenied", message: bustest.MethodCall(h.callers, wire.Path, "org.freedesktop.DBus.Peer", "Ping")},
		{name: "to the second connection, option ah", want: "bus AccessDenied", message: hostileTo(hostileOption("ah", hostileEmpty(4)), h.callers)},
		{name: "to the unique name, option ah", want: "service InvalidEvent", message: hostileTo(hostileOption("ah", hostileEmpty(4)), h.main)},
	}
}

// bustestWithout returns a message without its member.
func bustestWithout(m *bustest.Message) *bustest.Message {
	one := *m
	one.Member = ""
	return &one
}

func hostileTo(m *bustest.Message, to string) *bustest.Message {
	m.Destination = to
	return m
}

// hostileTalkAttacks returns signals to all names of the service, some of which
// pretend to come from the bus, with harmless and hostile bodies.
func hostileTalkAttacks(h *hostileTarget) []hostileAttack {
	var attacks []hostileAttack
	for i, to := range []string{wire.Name, h.main, h.callers} {
		at := " to " + []string{"the name", "the unique name", "the second connection"}[i]
		for name, m := range map[string]*bustest.Message{
			"NameLost":         hostileSignal(to, wire.BusInterface, "NameLost", "s", hostileText(wire.Name)),
			"NameOwnerChanged": hostileSignal(to, wire.BusInterface, "NameOwnerChanged", "sss", func(b *bustest.Body) { b.String(h.root.Name()).String(h.root.Name()).String("") }),
			"signal of ah":     hostileSignal(to, wire.BusInterface, "NameLost", "ah", hostileEmpty(4)),
			"signal of a{sv} of ah": hostileSignal(to, wire.Interface, "Event", "a{sv}", func(b *bustest.Body) {
				b.Array(8, func(b *bustest.Body) { b.Align(8).String("x").Variant("ah", hostileEmpty(4)) })
			}),
			"signal of 62 variants":  hostileSignal(to, wire.Interface, "Event", "v", hostileNested(61, "as", hostileEmpty(4))),
			"signal of 2 MiB":        hostileSignal(to, wire.Interface, "Event", "ay", hostileBytes(2<<20)),
			"signal of garbage":      hostileSignal(to, wire.BusInterface, "NameOwnerChanged", "sss", hostileRaw("\xff\xff\xff\xff")),
			"signal of our own":      hostileSignal(to, wire.Interface, "Event", "s", hostileText("x")),
			"signal Disconnected":    hostileSignal(to, "org.freedesktop.DBus.Local", "Disconnected", "", func(*bustest.Body) {}),
			"signal from bus's path": hostilePath(hostileSignal(to, wire.BusInterface, "NameAcquired", "s", hostileText("a.b"))),
		} {
			a := hostileAttack{name: name + at, message: m, want: hostileSilence}
			if strings.Contains(name, "garbage") || strings.Contains(name, "Disconnected") {
				a.want = hostileCut
			}
			if len(m.Body) > 1<<20 {
				a.times = 3
			}
			attacks = append(attacks, a)
		}
	}
	return attacks
}

func hostilePath(m *bustest.Message) *bustest.Message {
	m.Path = wire.BusPath
	return m
}
