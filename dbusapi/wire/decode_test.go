package wire

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/osctl/eventd/hub"
)

// The bytes were written by hand from the specification, "Marshaling (Wire
// Format)".
func TestValueBytes(t *testing.T) {
	str := hub.String
	for _, c := range []struct {
		value       hub.Value
		little, big string
	}{
		{hub.Bool(true), "\x01\x00\x00\x00", "\x00\x00\x00\x01"},
		{hub.Number(hub.KindByte, 0xfe), "\xfe", "\xfe"},
		{hub.Number(hub.KindInt16, math.MaxUint64), "\xff\xff", "\xff\xff"},
		{hub.Number(hub.KindInt16, 0x1234), "\x34\x12", "\x12\x34"},
		{hub.Number(hub.KindUint16, 0xfffe), "\xfe\xff", "\xff\xfe"},
		{hub.Int32(-2), "\xfe\xff\xff\xff", "\xff\xff\xff\xfe"},
		{hub.Uint32(0x01020304), "\x04\x03\x02\x01", "\x01\x02\x03\x04"},
		{hub.Int64(-2), "\xfe\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xfe"},
		{hub.Uint64(0x0102030405060708), "\x08\x07\x06\x05\x04\x03\x02\x01", "\x01\x02\x03\x04\x05\x06\x07\x08"},
		{hub.Number(hub.KindDouble, math.Float64bits(1)), "\x00\x00\x00\x00\x00\x00\xf0\x3f", "\x3f\xf0\x00\x00\x00\x00\x00\x00"},
		{str("foo"), "\x03\x00\x00\x00foo\x00", "\x00\x00\x00\x03foo\x00"},
		{str(""), "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00"},
		{hub.Path("/a_1/B"), "\x06\x00\x00\x00/a_1/B\x00", "\x00\x00\x00\x06/a_1/B\x00"},
		{hub.TypeOf("a{sv}"), "\x05a{sv}\x00", "\x05a{sv}\x00"},
		{hub.TypeOf(""), "\x00\x00", "\x00\x00"},
		{hub.Bytes([]byte("\x00\xff")), "\x02\x00\x00\x00\x00\xff", "\x00\x00\x00\x02\x00\xff"},
		{hub.Bytes(""), "\x00\x00\x00\x00", "\x00\x00\x00\x00"},
		// An empty array has the padding before the first element, too.
		{hub.Array("t", nil), "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{hub.Array("(y)", nil), "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{hub.Dict("y", "y", nil), "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{hub.Array("u", nil), "\x00\x00\x00\x00", "\x00\x00\x00\x00"},
		// The length does not include that padding; an example of the specification.
		{
			hub.Array("x", []hub.Value{hub.Int64(5)}),
			"\x08\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00",
			"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05",
		},
		{
			hub.Strings("a", "bc"),
			"\x0f\x00\x00\x00\x01\x00\x00\x00a\x00\x00\x00\x02\x00\x00\x00bc\x00",
			"\x00\x00\x00\x0f\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x02bc\x00",
		},
		// An array of structs ends with the last field, not with padding.
		{
			hub.Array("(y)", []hub.Value{hub.Struct([]hub.Value{hub.Number(hub.KindByte, 1)}), hub.Struct([]hub.Value{hub.Number(hub.KindByte, 2)})}),
			"\x09\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02",
			"\x00\x00\x00\x09\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02",
		},
		{
			hub.Dict("y", "v", []hub.Value{hub.Number(hub.KindByte, 1), hub.Variant(hub.Uint32(2))}),
			"\x08\x00\x00\x00\x00\x00\x00\x00\x01\x01u\x00\x02\x00\x00\x00",
			"\x00\x00\x00\x08\x00\x00\x00\x00\x01\x01u\x00\x00\x00\x00\x02",
		},
		{
			hub.Struct([]hub.Value{hub.Number(hub.KindByte, 1), hub.Struct([]hub.Value{str("x")}), hub.Bool(false)}),
			"\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00x\x00\x00\x00\x00\x00\x00\x00",
			"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x00\x00\x00\x00\x00",
		},
		{
			hub.Variant(hub.Variant(hub.Array("ay", []hub.Value{hub.Bytes([]byte("z"))}))),
			"\x01v\x00\x03aay\x00\x05\x00\x00\x00\x01\x00\x00\x00z",
			"\x01v\x00\x03aay\x00\x00\x00\x00\x05\x00\x00\x00\x01z",
		},
	} {
		e := NewEncoder([]byte("before")) // alignment begins behind it
		e.Value(c.value)
		if got := string(e.Bytes[len("before"):]); got != c.little {
			t.Errorf("%s: encoded as %q, want %q", dump(c.value), got, c.little)
		}
		for _, big := range []bool{false, true} {
			text := map[bool]string{false: c.little, true: c.big}[big]
			d := NewDecoder(text, big)
			got := d.Value(c.value.Type(), 8)
			if err := d.Finish(); err != nil || dump(got) != dump(c.value) {
				t.Errorf("%q as %s, big endian %v: %s, %v; want %s", text, c.value.Type(), big, dump(got), err, dump(c.value))
			}
			// A missing or an extra byte is an error.
			for n := range text {
				d := NewDecoder(text[:n], big)
				d.Value(c.value.Type(), 8)
				if d.Finish() == nil {
					t.Errorf("%q as %s, big endian %v: no error", text[:n], c.value.Type(), big)
				}
			}
			d = NewDecoder(text+"\x00", big)
			d.Value(c.value.Type(), 8)
			if !errors.Is(d.Finish(), errLong) {
				t.Errorf("%q as %s and a byte: %v", text, c.value.Type(), d.Err())
			}
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, typ, body string
		want            error
	}{
		{"empty", "u", "", errShort},
		{"short", "t", "\x00\x00\x00\x00", errShort},
		{"boolean 2", "b", "\x02\x00\x00\x00", errBool},
		{"padding", "(yu)", "\x01\x00\x01\x00\x00\x00\x00\x00", errPadding},
		{"padding of empty array", "at", "\x00\x00\x00\x00\x00\x00\x00\x01", errPadding},
		{"padding of empty array missing", "at", "\x00\x00\x00\x00", errShort},
		{"padding between entries", "a{yy}", "\x0a\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x01\x00\x00\x00\x03\x04", errPadding},
		{"padding between structs", "a(y)", "\x09\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09\x02", errPadding},
		{"string not UTF-8", "s", "\x02\x00\x00\x00\xc3\x28\x00", errUTF8},
		{"surrogate", "s", "\x03\x00\x00\x00\xed\xa0\x80\x00", errUTF8},
		{"overlong", "s", "\x02\x00\x00\x00\xc0\x80\x00", errUTF8},
		{"NUL within", "s", "\x03\x00\x00\x00a\x00b\x00", errNUL},
		{"no NUL", "s", "\x01\x00\x00\x00ab", errNUL},
		{"string of 4 GiB", "s", "\xff\xff\xff\xffab\x00", errShort},
		{"string without its NUL", "s", "\x02\x00\x00\x00ab", errShort},
		{"path empty", "o", "\x00\x00\x00\x00\x00", errPath},
		{"path relative", "o", "\x01\x00\x00\x00a\x00", errPath},
		{"path with slash behind", "o", "\x03\x00\x00\x00/a/\x00", errPath},
		{"path with two slashes", "o", "\x05\x00\x00\x00/a//b\x00", errPath},
		{"path with a dot", "o", "\x04\x00\x00\x00/a.b\x00", errPath},
		{"path with umlaut", "o", "\x03\x00\x00\x00/\xc3\xa4\x00", errPath},
		{"signature unknown", "g", "\x01w\x00", errSignature},
		{"signature with NUL", "g", "\x02s\x00\x00", errNUL},
		{"signature of fds", "g", "\x01h\x00", errUnixFD},
		{"variant empty", "v", "\x00\x00", errSignature},
		{"variant of two", "v", "\x02yy\x00\x01\x02", errManyType},
		{"variant of fd", "v", "\x01h\x00\x00\x00\x00\x00", errUnixFD},
		{"variant of fd array", "v", "\x02ah\x00\x00\x00\x00\x00", errUnixFD},
		{"variant of fd dict", "v", "\x05a{hs}\x00\x00\x00\x00\x00", errUnixFD},
		{"variant of dict entry", "v", "\x04{sv}\x00\x00\x00\x00\x00", errSignature},
		{"array longer than the body", "ay", "\x05\x00\x00\x00ab", errShort},
		{"array longer than allowed", "ay", "\x01\x00\x00\x04" + "ab", errArray},
		{"array of 4 GiB", "at", "\xff\xff\xff\xff\x00\x00\x00\x00", errArray},
		{"array ends within an element", "au", "\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", errArray},
		{"array ends within the last element", "au", "\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00", errShort},
		{"array ends in trailing padding", "a(y)", "\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", errShort},
		{"array ends within padding", "a(y)", "\x07\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", errArray},
		{"inner array over the outer", "aay", "\x04\x00\x00\x00\x02\x00\x00\x00ab", errArray},
		{"string over the array", "as", "\x06\x00\x00\x00\x03\x00\x00\x00abc\x00", errArray},
		{"dict entry over the array", "a{ys}", "\x09\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00a\x00", errArray},
		{"nested too deeply", "v", strings.Repeat("\x01v\x00", 9) + "\x01y\x00\x00", errTooDeep},
		{"arrays nested too deeply", "aaaaaaaaay", strings.Repeat("\x04\x00\x00\x00", 9), errTooDeep},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(c.body, false)
			d.Value(c.typ, 8)
			if err := d.Finish(); !errors.Is(err, c.want) {
				t.Errorf("%q as %s: %v, want %v", c.body, c.typ, err, c.want)
			}
			before := d.pos
			if d.Uint64() != 0 || d.String() != "" || d.Value("as", 8).Items() != nil || d.pos != before {
				t.Error("the decoder reads on after an error")
			}
		})
	}
}

// The limit of nesting is exact for each kind of container.
func TestDepth(t *testing.T) {
	zero := strings.Repeat("\x00", 64)
	length := func(n int) string { return string([]byte{byte(n), 0, 0, 0}) }
	for _, c := range []struct{ name, typ, body string }{
		{"variants", "v", strings.Repeat("\x01v\x00", 7) + "\x01y\x00\x00"},
		{"structs", "((((((((y))))))))", "\x00"},
		{"arrays", "aaaaaaaay", length(28) + length(24) + length(20) + length(16) + length(12) + length(8) + length(4) + length(0)},
		{"dict and bytes", "a{y(((((vay)))))}", length(20) + zero[:4] + "\x00" + zero[:7] + "\x02ay\x00" + length(0) + length(0)},
	} {
		for _, limit := range []int{7, 8} {
			d := NewDecoder(c.body, false)
			v := d.Value(c.typ, limit)
			err := d.Finish()
			if limit == 8 && (err != nil || v.Depth(20) != 8) {
				t.Errorf("%s: %v, depth %d", c.name, err, v.Depth(20))
			}
			if limit == 7 && !errors.Is(err, errTooDeep) {
				t.Errorf("%s within %d: %v", c.name, limit, err)
			}
		}
	}
}

func TestSignatures(t *testing.T) {
	repeat := strings.Repeat
	for _, good := range []string{
		"", "y", "a{sv}", "a(sa{sv})", "aay", "ybnqiuxtdsogv", repeat("a", 32) + "y",
		repeat("(", 32) + "y" + repeat(")", 32), "a{s" + repeat("(", 32) + "y" + repeat(")", 32) + "}",
		repeat("a(", 32) + "y" + repeat(")", 32), repeat("a{y", 32) + "y" + repeat("}", 32), repeat("y", 255), "a{oa{gv}}",
	} {
		if err := checkSignature(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"a", "(", ")", "()", "(y", "y)", "{sv}", "a{s}", "a{}", "a{", "a{s", "a{svv}", "a{vs}", "a{(y)s}", "a{ays}", "a{sv", "a{s)", "(a)", "(a}", "z", "r", "e",
		"a{s}v", "\x00", "é", " ", "Y", repeat("a", 33) + "y", repeat("(", 33) + "y" + repeat(")", 33), repeat("y", 256), repeat("a{y", 33) + "y" + repeat("}", 33), repeat("(", 255), repeat("a", 255),
	} {
		if err := checkSignature(bad); !errors.Is(err, errSignature) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, fds := range []string{"h", "ah", "(h)", "a{sh}", "a{hs}", "a{s(yh)}", "sh"} {
		if err := checkSignature(fds); !errors.Is(err, errUnixFD) {
			t.Errorf("%q: %v", fds, err)
		}
	}
}
