package netwatch

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

func TestDecodeLink(t *testing.T) {
	local, inside := Peer{NSIDLocal, 6}, Peer{3, 2}
	full := &fakeLink{name: "veth1", flags: unix.IFF_UP, peer: inside}
	for name, c := range map[string]struct {
		b    []byte
		want link
	}{
		"peer inside": {newLink(7, full), link{ifindex: 7, flags: unix.IFF_UP, name: []byte("veth1"), peer: inside}},
		"peer on the host": {
			newLink(7, &fakeLink{name: "a", peer: local}),
			link{ifindex: 7, name: []byte("a"), peer: local},
		},
		"peer without nsid": {
			newLink(7, &fakeLink{name: "a", peer: Peer{NSIDUnknown, 2}}),
			link{ifindex: 7, name: []byte("a"), peer: Peer{NSIDUnknown, 2}},
		},
		"no peer": {newLink(7, &fakeLink{name: "a", peer: Peer{NSID: NSIDLocal}}), link{ifindex: 7, name: []byte("a"), peer: Peer{NSID: NSIDLocal}}},
		"moved": {
			delLink(7, full, &Peer{1, 9}),
			link{deleted: true, ifindex: 7, flags: unix.IFF_UP, name: []byte("veth1"), peer: inside, moved: true, movedTo: Peer{1, 9}},
		},
		"moved by an old kernel": {
			delLink(7, full, &Peer{1, 0}),
			link{deleted: true, ifindex: 7, flags: unix.IFF_UP, name: []byte("veth1"), peer: inside, moved: true, movedTo: Peer{1, 7}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, rest, err := splitMessage(c.b)
			must(t, err)
			l, ok, err := decodeLink(&m)
			must(t, err)
			if len(rest) != 0 || !ok || !bytes.Equal(l.name, c.want.name) {
				t.Fatalf("rest %d, ok %v, name %q", len(rest), ok, l.name)
			}
			l.name, c.want.name = nil, nil
			if l.ifindex != c.want.ifindex || l.flags != c.want.flags || l.deleted != c.want.deleted ||
				l.peer != c.want.peer || l.moved != c.want.moved || l.movedTo != c.want.movedTo {
				t.Errorf("got %+v, want %+v", l, c.want)
			}
		})
	}
}

// body returns a good link body after a change.
func body(change func(b []byte) []byte) []byte {
	return appendMessage(unix.RTM_NEWLINK, 0, 0, change(linkBody(7, &fakeLink{name: "a", peer: Peer{3, 2}}, nil)))
}

func TestDecodeIgnores(t *testing.T) {
	for name, b := range map[string][]byte{
		"bridge family": body(func(b []byte) []byte { b[0] = unix.AF_BRIDGE; return b }),
		"other kind":    body(func(b []byte) []byte { return bytes.Replace(b, []byte("veth"), []byte("vetz"), 1) }),
		"longer kind":   body(func(b []byte) []byte { return bytes.Replace(b, []byte("veth\x00"), []byte("vethx"), 1) }),
		"no kind":       body(func(b []byte) []byte { return b[:unix.SizeofIfInfomsg] }),
	} {
		m, _, err := splitMessage(b)
		must(t, err)
		if _, ok, err := decodeLink(&m); ok || err != nil {
			t.Errorf("%s: ok %v, error %v", name, ok, err)
		}
	}
}

func TestDecodeMalformed(t *testing.T) {
	for name, b := range map[string][]byte{
		"no header":        make([]byte, 15),
		"length too short": make([]byte, 16),
		"length too long":  {40, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"no ifinfomsg":     appendMessage(unix.RTM_NEWLINK, 0, 0, make([]byte, 12)),
		"ifindex 0":        body(func(b []byte) []byte { b[4] = 0; return b }),
		"ifindex negative": body(func(b []byte) []byte { b[7] = 0x80; return b }),
		"empty name":       body(func(b []byte) []byte { return appendAttribute(b, unix.IFLA_IFNAME, []byte{0}) }),
		"long name":        body(func(b []byte) []byte { return appendAttribute(b, unix.IFLA_IFNAME, make16("x")) }),
		"short nsid":       body(func(b []byte) []byte { return appendAttribute(b, unix.IFLA_LINK_NETNSID, []byte{1, 2}) }),
		"short peer":       body(func(b []byte) []byte { return appendAttribute(b, unix.IFLA_LINK, nil) }),
		"negative peer":    body(func(b []byte) []byte { return appendAttribute(b, unix.IFLA_LINK, []byte{0, 0, 0, 128}) }),
		"attribute short":  body(func(b []byte) []byte { return append(b, 3, 0, 0, 0) }),
		"attribute long":   body(func(b []byte) []byte { return append(b, 9, 0, 0, 0) }),
		"attribute cut":    body(func(b []byte) []byte { return append(b, 4, 0) }),
		"kind cut":         body(func(b []byte) []byte { return appendAttribute(b, unix.IFLA_LINKINFO, []byte{7, 0, 1, 0}) }),
	} {
		m, _, err := splitMessage(b)
		if err == nil {
			_, _, err = decodeLink(&m)
		}
		if !errors.Is(err, errMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestDecodeNSID(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want int32
		bad  bool
	}{
		"an id":     {b: nsidMessage(unix.RTM_DELNSID, 7), want: 7},
		"none":      {b: nsidMessage(unix.RTM_NEWNSID, -1), want: NSIDUnknown},
		"no id":     {b: appendMessage(unix.RTM_NEWNSID, 0, 0, make([]byte, 4)), bad: true},
		"too short": {b: appendMessage(unix.RTM_NEWNSID, 0, 0, make([]byte, 3)), bad: true},
		"cut":       {b: appendMessage(unix.RTM_NEWNSID, 0, 0, []byte{0, 0, 0, 0, 8, 0, 1, 0}), bad: true},
	} {
		m, _, err := splitMessage(c.b)
		must(t, err)
		got, err := decodeNSID(&m)
		if bad := errors.Is(err, errMalformed); got != c.want || bad != c.bad {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func make16(c string) []byte { return bytes.Repeat([]byte(c), unix.IFNAMSIZ) }

func TestShowName(t *testing.T) {
	for raw, want := range map[string]string{
		"eth0": "eth0", "vëth": "vëth", "a\xffb": `a\xffb`, `a\xff`: `a\x5cxff`, "\x1b[2J": `\x1b[2J`,
		"\xe2\x80\xae": `\xe2\x80\xae`, "\uFFFD": "\uFFFD", "\x7f": `\x7f`,
	} {
		if got := showName([]byte(raw), "old"); got != want {
			t.Errorf("%q is shown as %s, want %s", raw, got, want)
		}
		if n := testing.AllocsPerRun(10, func() { showName([]byte(raw), want) }); raw == want && n > 0 {
			t.Errorf("%q again: %v allocations", raw, n)
		}
	}
	if got := showName([]byte("\xff"), `\xff`); got != `\xff` {
		t.Error(got)
	}
	if got := showName([]byte(`\xff`), `\xff`); got != `\x5cxff` {
		t.Errorf("a literal backslash is shown as %s", got)
	}
}

// seedCaptures gives a fuzzer what a kernel really said.
func seedCaptures(f *testing.F, add func(b []byte)) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.hex")
	must(f, err)
	if len(files) < 10 {
		f.Fatalf("only %d captures", len(files))
	}
	for _, name := range files {
		var all []byte
		for _, d := range readCapture(f, filepath.Base(name)) {
			add(d.b)
			all = append(all, d.b...)
		}
		add(all)
	}
}

func FuzzDecode(f *testing.F) {
	seedCaptures(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := splitMessage(b)
			if err != nil {
				if !errors.Is(err, errMalformed) {
					t.Fatal(err)
				}
				return
			}
			if len(rest) >= len(b) {
				t.Fatal("no progress")
			}
			b = rest
			_, _ = m.errno()
			if nsid, err := decodeNSID(&m); err == nil && nsid < NSIDUnknown || err != nil && !errors.Is(err, errMalformed) {
				t.Fatal(nsid, err)
			}
			l, ok, err := decodeLink(&m)
			if err != nil && (ok || !errors.Is(err, errMalformed)) {
				t.Fatal(ok, err)
			}
			if !ok {
				continue
			}
			if l.ifindex == 0 || l.ifindex > math.MaxInt32 || l.peer.Ifindex > math.MaxInt32 || l.peer.NSID < NSIDUnknown || len(l.name) == 0 || len(l.name) > 15 {
				t.Fatalf("absurd: %+v", l)
			}
			if name := showName(l.name, ""); !utf8.ValidString(name) || name == "" {
				t.Fatalf("name %q", name)
			}
		}
	})
}
