package hub

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPlainText(t *testing.T) {
	for name, want := range map[string]string{
		"eth0": "eth0", "": "", "müsli 鯨": "müsli 鯨", "a b": "a b",
		"a\xffb": `a\xffb`, `a\b`: `a\x5cb`, "a\nb": `a\x0ab`, "a\u200bb": `a\xe2\x80\x8bb`, "\ufffd": "\ufffd",
	} {
		if got := PlainText([]byte(name), 255); got != want {
			t.Errorf("PlainText(%q) = %q, want %q", name, got, want)
		}
	}
	for limit, want := range map[int]string{0: "", 1: "a", 4: "a", 5: `a\xff`, 6: `a\xff`, 7: `a\xffü`} {
		if got := PlainText([]byte("a\xffü"), limit); got != want {
			t.Errorf("within %d bytes: %q, want %q", limit, got, want)
		}
	}
}

// The text is valid and within the limit, and two different names never look the same.
func FuzzPlainText(f *testing.F) {
	f.Add([]byte("eth0"), []byte("eth0\x00"), 15)
	f.Add([]byte(`\xff`), []byte("\xff"), 255)
	f.Fuzz(func(t *testing.T, a, b []byte, limit int) {
		limit = min(max(limit, 0), 300)
		if got := PlainText(a, limit); len(got) > limit || !utf8.ValidString(got) || strings.Contains(got, "\x00") {
			t.Errorf("PlainText(%q, %d) = %q", a, limit, got)
		}
		all := 4 * (len(a) + len(b))
		if (PlainText(a, all) == PlainText(b, all)) != (string(a) == string(b)) {
			t.Errorf("%q and %q look the same", a, b)
		}
	})
}

// Invalid UTF-8 is escaped in sources, in logs of earlier versions, in rows of views, and in the
// problem of a log.
func TestInvalidTextIsEscaped(t *testing.T) {
	e, err := NewEvent("state", opts("pool", "p", "id", "1", "state", "running"), "a\xff.service")
	if err != nil || e.Source != `a\xff.service` || e.keys[keySource] != e.Source {
		t.Fatalf("the source is %q, %v", e.Source, err)
	}
	log := &memoryLog{}
	h := newHub(t, Config{Log: log})
	e.Source = "a\xff.service"
	e.Options[2].Value = String("\xfe")
	row := Interface{Ifindex: 1, Veth: "v\xff", Name: "n\xff", Pool: "p\xff", ID: "i\xff", State: LinkUp, BoundBy: "b\xff"}
	if _, err := h.Commit(Batch{Events: []*Event{e}, Interfaces: []InterfaceChange{{Interface: row}}}); err != nil {
		t.Fatal(err)
	}
	h = reopen(t, log)
	var events [1]*Event
	if n, err := subscribe(t, h, only(t, "source", `a\xff.service`), CursorOldest).Poll(events[:]); n != 1 || err != nil || events[0].Action != `\xfe` {
		t.Errorf("Poll = %d, %v: %+v", n, err, events[0])
	}
	if rows, _ := h.Containers(); len(rows) != 1 || rows[0].Source != `a\xff.service` || rows[0].State != `\xfe` {
		t.Errorf("containers are %+v", rows)
	}
	want := Interface{Ifindex: 1, Veth: `v\xff`, Name: `n\xff`, Pool: `p\xff`, ID: `i\xff`, State: LinkUp, BoundBy: `b\xff`}
	if rows, _ := h.Interfaces(); len(rows) != 1 || rows[0] != want {
		t.Errorf("interfaces are %+v", rows)
	}
	log.writeErr = errors.New("open /\xff")
	fill(t, h, 1)
	if got := h.Status().LogProblem; got != `open /\xff` {
		t.Errorf("LogProblem is %q", got)
	}
}
