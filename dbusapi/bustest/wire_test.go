package bustest

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

func TestMessageRoundTrip(t *testing.T) {
	for _, big := range []bool{false, true} {
		body := &Body{BigEndian: big}
		body.String("hello").Uint64(1 << 40)
		want := &Message{
			Type: TypeError, Flags: FlagNoReply, Serial: 7, Path: "/a", Interface: "b.c", Member: "D",
			Destination: "e.f", ErrorName: "g.h", Sender: ":1.2", Signature: "st", ReplySerial: 9, UnixFDs: 3,
			Body: body.Bytes(), BigEndian: big,
		}
		raw := want.Marshal()
		// Twice, as the first must take its own bytes and no more.
		r := bytes.NewReader(append(raw, raw...))
		for range 2 {
			got, err := ReadMessage(r)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if s, err := got.FirstString(); s != "hello" || err != nil {
				t.Error("FirstString:", s, err)
			}
		}
		if _, err := ReadMessage(r); !errors.Is(err, io.EOF) {
			t.Error("at the end:", err)
		}
		for n := 1; n < len(raw); n++ {
			if _, err := ReadMessage(bytes.NewReader(raw[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes of %d: %v", n, len(raw), err)
			}
		}
	}
}

// The bytes were written by hand from the specification, because the reader could
// share errors of the encoder.
func TestMarshalBytes(t *testing.T) {
	m := MethodCall("d.e", "/", "", "M")
	m.Serial, m.Signature, m.Body = 2, "u", []byte{1, 0, 0, 0}
	want := "l\x01\x00\x01" + "\x04\x00\x00\x00" + "\x02\x00\x00\x00" + "\x37\x00\x00\x00" +
		"\x01\x01o\x00" + "\x01\x00\x00\x00/\x00" + "\x00\x00\x00\x00\x00\x00" +
		"\x03\x01s\x00" + "\x01\x00\x00\x00M\x00" + "\x00\x00\x00\x00\x00\x00" +
		"\x06\x01s\x00" + "\x03\x00\x00\x00d.e\x00" + "\x00\x00\x00\x00" +
		"\x08\x01g\x00" + "\x01u\x00" + "\x00" +
		"\x01\x00\x00\x00"
	if got := string(m.Marshal()); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestBodyBytes(t *testing.T) {
	for _, tc := range []struct {
		name string
		body *Body
		want string
	}{
		{"string", new(Body).Byte(1).String("ab"), "\x01\x00\x00\x00\x02\x00\x00\x00ab\x00"},
		{"big-endian", (&Body{BigEndian: true}).Bool(true).Uint64(2), "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"},
		{"empty array of structs", new(Body).Array(8, func(*Body) {}), "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"length without the padding before the first element", new(Body).Array(8, func(b *Body) { b.Uint64(3) }), "\x08\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"},
		{"dict", new(Body).Dict("k", "v"), "\x12\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00k\x00\x01s\x00\x00\x00\x00\x01\x00\x00\x00v\x00"},
		{"variant", new(Body).Variant("b", func(b *Body) { b.Bool(false) }), "\x01b\x00\x00\x00\x00\x00\x00"},
	} {
		if got := string(tc.body.Bytes()); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestReadMessageRefuses(t *testing.T) {
	valid := (&Message{Type: TypeSignal, Serial: 1, Path: "/a"}).Marshal()
	for name, change := range map[string]func([]byte){
		"byte order":    func(b []byte) { b[0] = 'x' },
		"body size":     func(b []byte) { b[7] = 0xff },
		"field size":    func(b []byte) { b[15] = 0xff },
		"field code":    func(b []byte) { b[16] = 77 },
		"field type":    func(b []byte) { b[18] = 'u' },
		"string length": func(b []byte) { b[21] = 1 },
	} {
		raw := bytes.Clone(valid)
		change(raw)
		if m, err := ReadMessage(bytes.NewReader(raw)); err == nil {
			t.Errorf("%s: read %+v", name, m)
		}
	}
}
