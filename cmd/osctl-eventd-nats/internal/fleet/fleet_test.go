package fleet

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"node1", "web.1", "A_b-c", "1.2.3", strings.Repeat("a", 64)} {
		subject := Subject(name)
		if err := CheckHost(name); err != nil || hostOf(subject) != name || strings.Count(subject, ".") != 2 {
			t.Errorf("%q: %v, subject %s of host %q", name, err, subject, hostOf(subject))
		}
	}
	for _, name := range []string{"", ".", "..", "-x", "a b", "*", "a>", "a/b", "a=2Eb", "\x00", "ž", strings.Repeat("a", 65)} {
		if CheckHost(name) == nil {
			t.Errorf("%q is accepted as the name of a host", name)
		}
		if CheckStream(name) == nil && name != "-x" {
			t.Errorf("%q is accepted as the name of a stream", name)
		}
	}
	if CheckStream("OSCTL") != nil || CheckStream("a.b") == nil {
		t.Error("the names OSCTL or a.b of streams are checked wrongly")
	}
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
		{Servers: "nats://u:p%zz@a.example"},
		{Servers: "nats://u:p,q@a.example"},
		{Servers: "u:p@a.example:4222"},
		{Servers: "tls://a.example,nats://b.example", User: "u"},
		{Servers: "nats://\x01"},
	} {
		if err := a.Check(); err == nil || strings.Contains(err.Error(), "u:p") || strings.Contains(err.Error(), "p%zz") {
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
		if h, err := ParseHead(header, 0); h != (Head{}) || !errors.Is(err, ErrForeign) {
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
			t.Errorf("the header %v is written as %v", header, written)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add("e:5", "1700000000000000", "interval=0.5 backlog=1 history=3 full=true durable=true")
	f.Fuzz(func(t *testing.T, cursor, at, state string) {
		header := nats.Header{HeaderCursor: {cursor}, HeaderMachine: {"m"}, HeaderTime: {at}, HeaderState: {state}}
		h, err := ParseHead(header, 0)
		if err == nil && h.Cursor != cursor || err != nil && (h != Head{} || !errors.Is(err, ErrForeign)) {
			t.Fatalf("%+v, %v", h, err)
		}
	})
}
