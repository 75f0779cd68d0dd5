package hub

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestEventJSON(t *testing.T) {
	e, err := NewEvent("ct_netif", opts("pool", "tank", "id", "101", "action", "up", "name", "eth0", "veth", "veth1a2b", "ifindex", Uint32(12)), "netlink")
	if err != nil {
		t.Fatal(err)
	}
	e.Seq, e.Time = 42, time.Date(2026, 11, 22, 12, 11, 12, 123456789, time.FixedZone("", 7200))
	want := `{"type":"ct_netif","opts":{"pool":"tank","id":"101","action":"up","name":"eth0","veth":"veth1a2b","ifindex":12},` +
		`"seq":42,"time":"2026-11-22T10:11:12.123456Z","source":"netlink","cursor":"0aF:42"}`
	if got := string(e.AppendJSON([]byte("> "), "0aF")); got != "> "+want {
		t.Errorf("JSON is %s, want %s", got, want)
	}
	e.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var parsed struct {
		Time string `json:"time"`
	}
	if err := json.Unmarshal(e.AppendJSON(nil, ""), &parsed); err != nil || parsed.Time != "2026-01-02T03:04:05.000000Z" {
		t.Errorf("time is %q, %v", parsed.Time, err)
	}
}

func TestValueJSON(t *testing.T) {
	double := func(f float64) Value { return Number(KindDouble, math.Float64bits(f)) }
	for _, c := range []struct {
		value Value
		typ   string
		want  string
	}{
		{Bool(true), "b", `true`},
		{Bool(false), "b", `false`},
		{Number(KindByte, 255), "y", `255`},
		{Number(KindInt16, 1<<64-2), "n", `-2`},
		{Number(KindUint16, 65535), "q", `65535`},
		{Int32(math.MinInt32), "i", `-2147483648`},
		{Uint32(math.MaxUint32), "u", `4294967295`},
		{Int64(math.MinInt64), "x", `-9223372036854775808`},
		{Uint64(math.MaxUint64), "t", `18446744073709551615`},
		{double(0.5), "d", `0.5`},
		{double(-1e300), "d", `-1e+300`},
		{double(1), "d", `1.0`},
		{double(-100000), "d", `-100000.0`},
		{double(1e6), "d", `1e+06`},
		{double(math.Copysign(0, -1)), "d", `-0.0`},
		{double(math.NaN()), "d", `"NaN"`},
		{double(math.Inf(-1)), "d", `"-Inf"`},
		{String("a\"\\\n\x01ž\u2028"), "s", `"a\"\\\n\u0001ž\u2028"`},
		{Path("/org/osctl"), "o", `"/org/osctl"`},
		{TypeOf("a{sv}"), "g", `"a{sv}"`},
		{Bytes([]byte{0, 255}), "ay", `"AP8="`},
		{Bytes(""), "ay", `""`},
		{Strings(), "as", `[]`},
		{Strings("a", "b"), "as", `["a","b"]`},
		{Variant(Variant(Int32(1))), "v", `1`},
		{Struct([]Value{Int32(1), String("x"), Bytes([]byte("x"))}), "(isay)", `[1,"x","eA=="]`},
		{Dict("s", "v", nil), "a{sv}", `{}`},
		{Dict("s", "v", []Value{String("a"), Variant(Bool(true)), String("b"), Variant(Strings("x"))}), "a{sv}", `{"a":true,"b":["x"]}`},
		{Dict("u", "u", []Value{Uint32(1), Uint32(2)}), "a{uu}", `{"1":2}`},
		{Dict("b", "ay", []Value{Bool(true), Bytes([]byte("x"))}), "a{bay}", `{"true":"eA=="}`},
		{Dict("o", "a{ss}", []Value{Path("/"), Dict("s", "s", []Value{String("k"), String("v")})}), "a{oa{ss}}", `{"/":{"k":"v"}}`},
		{Dict("d", "s", []Value{double(math.NaN()), String(""), double(2), String("")}), "a{ds}", `{"NaN":"","2.0":""}`},
		{Array("a{sv}", []Value{Dict("s", "v", nil)}), "aa{sv}", `[{}]`},
		{Value{}, "", `null`},
	} {
		got := string(c.value.AppendJSON([]byte("x")))
		if got != "x"+c.want || !json.Valid([]byte(got[1:])) {
			t.Errorf("JSON of %s is %s, want %s", c.typ, got[1:], c.want)
		}
		if c.value.Type() != c.typ {
			t.Errorf("type of %s is %q, want %q", got, c.value.Type(), c.typ)
		}
	}
}

func TestMicros(t *testing.T) {
	for want, at := range map[uint64]time.Time{0: {}, 1: time.UnixMicro(1), 1700000000123456: time.UnixMicro(1700000000123456)} {
		if got := Micros(at); got != want {
			t.Errorf("Micros(%v) = %d, want %d", at, got, want)
		}
	}
}

func TestValueAccessors(t *testing.T) {
	if v := Int32(-5); v.Int() != -5 || v.Uint() != 0 || !v.Integer() || v.Bool() || v.Kind() != KindInt32 || v.Bits() != 1<<64-5 {
		t.Errorf("%+v", v)
	}
	if v := Uint64(1 << 63); v.Uint() != 1<<63 || v.Int() != 0 || !v.Integer() {
		t.Errorf("%+v", v)
	}
	if v := Bool(true); !v.Bool() || v.Integer() || v.Uint() != 0 || Bool(false).Bool() || Uint32(1).Bool() {
		t.Errorf("%+v", v)
	}
	if v := Number(KindDouble, math.Float64bits(2)); v.Integer() || v.Int() != 0 {
		t.Errorf("%+v", v)
	}
	if v := Dict("o", "a{sv}", nil); v.Type() != "a{oa{sv}}" || v.ElemType() != "a{sv}" || v.Depth(8) != 1 {
		t.Errorf("type %q, elem %q", v.Type(), v.ElemType())
	}
	if v := Array("(su)", nil); v.ElemType() != "(su)" {
		t.Errorf("elem %q", v.ElemType())
	}
	if v := Bytes([]byte("\x00")); v.ElemType() != "y" || v.Text() != "\x00" || v.Depth(8) != 1 || v.Items() != nil {
		t.Errorf("%+v", v)
	}
	if String("x").ElemType() != "" || String("x").Depth(8) != 0 {
		t.Error("a string has elements")
	}
	if v := Variant(Variant(String("x"))); v.Unwrap().Text() != "x" || v.Text() != "" || v.Depth(8) != 2 {
		t.Errorf("%+v", v)
	}
	if o := (Options{opt("a", "x"), {"b", Bytes([]byte("y"))}}); o.Text("a") != "x" || o.Text("b") != "" || o.Text("c") != "" {
		t.Error("Text of options")
	}
}

func TestEncodingIsMadeOnce(t *testing.T) {
	e := newEvent(t, "x")
	made := 0
	encode := func(*Event) []byte { made++; return []byte{byte(made)} }
	first, second := e.Encoding(encode), e.Encoding(encode)
	if made != 1 || &first[0] != &second[0] {
		t.Errorf("made %d times", made)
	}
	// Of two concurrent encodings the first is kept.
	other := newEvent(t, "x")
	got := other.Encoding(func(*Event) []byte {
		other.Encoding(encode)
		return []byte("late")
	})
	if string(got) != "\x02" || string(other.Encoding(encode)) != "\x02" {
		t.Errorf("encoding is %q", got)
	}
}
