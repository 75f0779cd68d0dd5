package fleet

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

func TestToken(t *testing.T) {
	long := strings.Repeat("a.", 60)
	for text, want := range map[string]string{
		"node1": "node1", "": "=", "a.b": "a=2Eb", "*": "=2A", ">": "=3E", "a b\x00": "a=20b=00", "ž": "=C5=BE", "a=b": "a=3Db",
		long: strings.Repeat("a=2E", 16) + "=~bd4a2bd3",
	} {
		if got := Token(text); got != want {
			t.Errorf("Token(%q) = %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		for _, token := range []string{Token(a), Token(b)} {
			if token == "" || len(token) > maxToken+10 || strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=~") != "" {
				t.Fatalf("token %q", token)
			}
		}
		if (a == b) != (Token(a) == Token(b)) {
			t.Fatalf("%q and %q have the tokens %q and %q", a, b, Token(a), Token(b))
		}
	})
}

func TestCheck(t *testing.T) {
	for _, a := range []Access{
		{Servers: "nats://127.0.0.1:4222"},
		{Servers: "tls://a.example, tls://b.example:4333", User: "u"},
		{Servers: "nats://[::1]", User: "u"},
		{Servers: "nats://a.example"},
	} {
		if err := a.Check(); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
	}
	for _, a := range []Access{
		{},
		{Servers: "a.example"},
		{Servers: "http://a.example"},
		{Servers: "nats://"},
		{Servers: "nats://u:p@a.example"},
		{Servers: "tls://a.example,nats://b.example", User: "u"},
		{Servers: "nats://\x01"},
	} {
		if err := a.Check(); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

// TestTrack reads what no bridge would write: each is refused whole, and moves nothing.
func TestTrack(t *testing.T) {
	header := func(cursor string) nats.Header {
		return nats.Header{HeaderCursor: {cursor}, HeaderMachine: {"m"}}
	}
	const event = `{"type":"x","cursor":"e:5"}` + "\n"
	track := Track{}
	lines, hole, err := track.Take(header("e:5"), []byte(event))
	if len(lines) != 1 || hole != nil || err != nil || track.Cursor != "e:5" {
		t.Fatalf("an event: %v, %v, %v", lines, hole, err)
	}
	for name, msg := range map[string]struct {
		header nats.Header
		data   string
	}{
		"no header": {nil, event}, "no line": {header("e:6"), ""}, "no JSON": {header("e:6"), "x\n"},
		"no cursor": {header("e:6"), `{"type":"x"}`}, "another cursor": {header("e:7"), event},
		"half": {header("e:6"), event + `{"type":"x","cur`}, "bad time": {nats.Header{HeaderCursor: {"e:5"}, HeaderMachine: {"m"}, HeaderTime: {"x"}}, event},
	} {
		if lines, _, err := track.Take(msg.header, []byte(msg.data)); err == nil || lines != nil || track.Cursor != "e:5" {
			t.Errorf("%s: %v, %v, at %s", name, lines, err, track.Cursor)
		}
	}
	_, hole, err = track.Take(header("e:8"), []byte(`{"type":"x","cursor":"e:8"}`))
	if h, ok := errors.AsType[*HoleError](hole); !ok || err != nil || *h != (HoleError{"e:5", "e:7"}) {
		t.Errorf("a hole: %v, %v", hole, err)
	}
	_, hole, err = track.Take(header("f:2"), []byte(`{"type":"_gap","from":"e:8","cursor":"f:2"}`))
	if hole != nil || err != nil || track.Cursor != "f:2" {
		t.Errorf("a gap: %v, %v", hole, err)
	}
}

func FuzzTrack(f *testing.F) {
	f.Add("e:5", `{"type":"x","cursor":"e:5"}`)
	f.Add("f:2", `{"type":"_gap","from":"e:8","cursor":"f:2"}`)
	f.Fuzz(func(t *testing.T, cursor, data string) {
		track := Track{Cursor: "e:4"}
		lines, _, err := track.Take(nats.Header{HeaderCursor: {cursor}, HeaderMachine: {"m"}}, []byte(data))
		if err == nil && track.Cursor != cursor || err != nil && (lines != nil || track.Cursor != "e:4") {
			t.Fatalf("%v, %v, at %s", lines, err, track.Cursor)
		}
	})
}
