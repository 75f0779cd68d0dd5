package fleet

import (
	"errors"
	"reflect"
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
	for _, token := range []string{"=2", "=2eb", "a%41", "==", "=~"} { // of which Token makes none
		if host := hostOf(subjectPrefix + token); host != token {
			t.Errorf("%q is read as %q", token, host)
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
		want := a
		if token := Token(a); token == "=" || strings.Contains(token, "=~") {
			want = token
		}
		if host := hostOf(Subject(a)); host != want {
			t.Fatalf("%q has the subject %q, which is read as %q", a, Subject(a), host)
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

func TestParseHead(t *testing.T) {
	const at = "1700000000000000"
	for name, header := range map[string]nats.Header{
		"nothing": nil, "no cursor": {HeaderMachine: {"m"}}, "no machine": {HeaderCursor: {"e:5"}},
		"two cursors": {HeaderCursor: {"e:5", "e:6"}, HeaderMachine: {"m"}},
		"bad cursor":  {HeaderCursor: {"x"}, HeaderMachine: {"m"}},
		"bad time":    {HeaderCursor: {"e:5"}, HeaderMachine: {"m"}, HeaderTime: {"x"}},
		"year 294247": {HeaderCursor: {"e:5"}, HeaderMachine: {"m"}, HeaderTime: {"9223372036854775807"}},
		"a copy":      {HeaderCursor: {"e:5"}, HeaderMachine: {"m"}, nats.JSStream: {"OSCTL"}},
	} {
		if h, err := ParseHead(header, 0); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for _, want := range []*Status{{0.5, &State{Backlog: 1, History: 3, Full: true, Durable: true}}, {300, nil}} {
		header := nats.Header{HeaderCursor: {"e:5"}, HeaderMachine: {"m"}, HeaderTime: {at}, HeaderState: {want.String()}}
		h, err := ParseHead(header, 0)
		if err != nil || h.Cursor != "e:5" || h.Machine != "m" || !reflect.DeepEqual(h.Status, want) {
			t.Errorf("%+v, %v", h, err)
		}
		if written := h.header(); !reflect.DeepEqual(written, header) {
			t.Errorf("%v was read, and is written as %v", header, written)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add("e:5", "1700000000000000", "interval=0.5 backlog=1 history=3 full=true durable=true")
	f.Fuzz(func(t *testing.T, cursor, at, state string) {
		header := nats.Header{HeaderCursor: {cursor}, HeaderMachine: {"m"}, HeaderTime: {at}, HeaderState: {state}}
		h, err := ParseHead(header, 0)
		if h.Cursor != cursor || err != nil && !errors.Is(err, ErrForeign) {
			t.Fatalf("%+v, %v", h, err)
		}
	})
}
