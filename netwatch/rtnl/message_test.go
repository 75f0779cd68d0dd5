package rtnl

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// message returns the bytes of a message.
func message(typ int, flags int, body []byte) []byte {
	r := nl.NewNetlinkRequest(typ, flags)
	r.Seq = 7
	r.AddRawData(body)
	return r.Serialize()
}

func attribute(typ int, value []byte) []byte { return nl.NewRtAttr(typ, value).Serialize() }

// linkBody returns the body of a link message of a veth, with some more attributes.
func linkBody(more ...[]byte) []byte {
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index, header.Flags = 7, unix.IFF_UP
	b := join(header.Serialize(), attribute(unix.IFLA_IFNAME, nl.ZeroTerminated("veth1")),
		attribute(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, attribute(unix.IFLA_INFO_KIND, nl.ZeroTerminated("veth"))))
	return append(b, join(more...)...)
}

func join(all ...[]byte) []byte { return bytes.Join(all, nil) }

func number(typ int, v int32) []byte { return attribute(typ, nl.Uint32Attr(uint32(v))) }

func TestParseLink(t *testing.T) {
	veth := Link{Ifindex: 7, Flags: unix.IFF_UP, Name: "veth1", Peer: Peer{NSID: NSIDLocal}}
	with := func(change func(l *Link)) Link {
		l := veth
		change(&l)
		return l
	}
	for name, c := range map[string]struct {
		typ  int
		body []byte
		want Link
	}{
		"no peer":           {unix.RTM_NEWLINK, linkBody(), veth},
		"peer on the host":  {unix.RTM_NEWLINK, linkBody(number(unix.IFLA_LINK, 6)), with(func(l *Link) { l.Peer.Ifindex = 6 })},
		"peer inside":       {unix.RTM_NEWLINK, linkBody(number(unix.IFLA_LINK, 2), number(unix.IFLA_LINK_NETNSID, 3)), with(func(l *Link) { l.Peer = Peer{3, 2} })},
		"peer without nsid": {unix.RTM_NEWLINK, linkBody(number(unix.IFLA_LINK, 2), number(unix.IFLA_LINK_NETNSID, -1)), with(func(l *Link) { l.Peer = Peer{NSIDUnknown, 2} })},
		"deleted":           {unix.RTM_DELLINK, linkBody(), with(func(l *Link) { l.Deleted = true })},
		"moved": {
			unix.RTM_DELLINK, linkBody(number(unix.IFLA_NEW_NETNSID, 1), number(unix.IFLA_NEW_IFINDEX, 9)),
			with(func(l *Link) { l.Deleted, l.Moved, l.MovedTo = true, true, Peer{1, 9} }),
		},
		"moved by an old kernel": {
			unix.RTM_DELLINK, linkBody(number(unix.IFLA_NEW_NETNSID, 1)),
			with(func(l *Link) { l.Deleted, l.Moved, l.MovedTo = true, true, Peer{1, 7} }),
		},
		"a name of any bytes": {unix.RTM_NEWLINK, linkBody(attribute(unix.IFLA_IFNAME, []byte("a\xff\\\x01\x00x"))), with(func(l *Link) { l.Name = "a\xff\\\x01" })},
	} {
		all, err := Parse(nil, message(c.typ, 0, c.body), 5, true)
		must(t, err)
		if len(all) != 1 || all[0].Link != c.want || all[0].From != 5 || all[0].Request != 7 || int(all[0].Type) != c.typ {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

func TestParseIgnores(t *testing.T) {
	veth := linkBody()
	bridge := bytes.Clone(veth)
	bridge[0] = unix.AF_BRIDGE
	for name, body := range map[string][]byte{
		"bridge family": bridge, "other kind": bytes.Replace(veth, []byte("veth\x00\x00"), []byte("vetz\x00\x00"), 1),
		"longer kind": bytes.Replace(veth, []byte("veth\x00\x00"), []byte("vethx\x00"), 1), "no kind": veth[:unix.SizeofIfInfomsg],
	} {
		if all, err := Parse(nil, message(unix.RTM_NEWLINK, 0, body), 0, false); len(all) != 0 || err != nil {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
	if all, err := Parse(nil, message(unix.RTM_NEWADDR, 0, nil), 0, false); len(all) != 0 || err != nil {
		t.Errorf("an address: %v, %v", all, err)
	}
}

// TestParseMalformed expects an error for each message that cannot be read, and expects Parse to
// return the other messages of the datagram.
func TestParseMalformed(t *testing.T) {
	good := message(unix.RTM_NEWLINK, 0, linkBody())
	change := func(at int, to byte) []byte {
		b := linkBody()
		b[at] = to
		return b
	}
	for name, body := range map[string][]byte{
		"no ifinfomsg": make([]byte, 12), "ifindex 0": change(4, 0), "ifindex negative": change(7, 0x80),
		"empty name": linkBody(attribute(unix.IFLA_IFNAME, []byte{0})), "long name": linkBody(attribute(unix.IFLA_IFNAME, bytes.Repeat([]byte("x"), 16))),
		"short nsid": linkBody(attribute(unix.IFLA_LINK_NETNSID, []byte{1, 2})), "short peer": linkBody(attribute(unix.IFLA_LINK, nil)),
		"negative peer": linkBody(number(unix.IFLA_LINK, -5)), "attribute short": linkBody([]byte{3, 0, 0, 0}),
		"attribute long": linkBody([]byte{9, 0, 0, 0}), "kind cut": linkBody(attribute(unix.IFLA_LINKINFO, []byte{7, 0, 1, 0})),
	} {
		all, err := Parse(nil, join(message(unix.RTM_NEWLINK, 0, body), good), 0, false)
		if !errors.Is(err, ErrMalformed) || len(all) != 1 {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
	for name, b := range map[string][]byte{
		"no header": make([]byte, 15), "length too short": make([]byte, 16), "length too long": {40, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"nsid without": message(unix.RTM_NEWNSID, 0, make([]byte, 4)), "nsid short": message(unix.RTM_NEWNSID, 0, make([]byte, 3)),
		"error short": message(unix.NLMSG_ERROR, 0, []byte{1}), "error positive": message(unix.NLMSG_ERROR, 0, []byte{1, 0, 0, 0}),
	} {
		if all, err := Parse(nil, b, 0, false); !errors.Is(err, ErrMalformed) || len(all) != 0 {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
}

func TestParseOthers(t *testing.T) {
	failed := binary.NativeEndian.AppendUint32(nil, 0xffffffff-uint32(unix.EBUSY)+1)
	for name, c := range map[string]struct {
		b    []byte
		want Message
	}{
		"nsid":    {message(unix.RTM_DELNSID, 0, join(make([]byte, 4), number(unix.NETNSA_NSID, 7))), Message{Type: unix.RTM_DELNSID, NSID: 7}},
		"no nsid": {message(unix.RTM_NEWNSID, 0, join(make([]byte, 4), number(unix.NETNSA_NSID, -1))), Message{Type: unix.RTM_NEWNSID, NSID: NSIDUnknown}},
		"done":    {message(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, nil), Message{Type: unix.NLMSG_DONE, Interrupted: true}},
		"refusal": {message(unix.NLMSG_ERROR, 0, failed), Message{Type: unix.NLMSG_ERROR, Errno: unix.EBUSY}},
		"ack":     {message(unix.NLMSG_ERROR, 0, make([]byte, 20)), Message{Type: unix.NLMSG_ERROR}},
	} {
		all, err := Parse(nil, c.b, 0, false)
		must(t, err)
		if len(all) != 1 || all[0] != c.want {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// captures returns datagrams that were recorded from a kernel, by file.
func captures(t testing.TB) map[string][][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.hex")
	must(t, err)
	if len(files) < 10 {
		t.Fatalf("only %d captures", len(files))
	}
	all := map[string][][]byte{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			if _, rest, ok := strings.Cut(line, " "); ok {
				line = rest
			}
			b, err := hex.DecodeString(strings.TrimSpace(line))
			must(t, err)
			all[filepath.Base(name)] = append(all[filepath.Base(name)], b)
		}
	}
	return all
}

// TestParseMatchesLibrary compares Parse with the decoder of the library.
func TestParseMatchesLibrary(t *testing.T) {
	links := 0
	for name, datagrams := range captures(t) {
		for _, b := range datagrams {
			all, err := Parse(nil, b, 0, false)
			must(t, err)
			for len(b) > 0 {
				header, body, rest, err := split(b)
				must(t, err)
				b = rest
				if header.Type != unix.RTM_NEWLINK && header.Type != unix.RTM_DELLINK {
					if len(all) > 0 {
						all = all[1:] // an id of a namespace, or the end of a dump
					}
					continue
				}
				want, err := netlink.LinkDeserialize(nil, body)
				must(t, err)
				if want.Type() != "veth" || body[0] != unix.AF_UNSPEC {
					continue
				}
				a, got := want.Attrs(), all[0].Link
				all = all[1:]
				links++
				nsid := got.Peer.NSID == NSIDLocal || int(got.Peer.NSID) == a.NetNsID || got.Peer.NSID == NSIDUnknown
				if int(got.Ifindex) != a.Index || got.Name != a.Name || got.Flags != a.RawFlags || int(got.Peer.Ifindex) != a.ParentIndex || !nsid {
					t.Errorf("%s: got %+v, the library %+v", name, got, a)
				}
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links", links)
	}
}

func FuzzParse(f *testing.F) {
	for _, datagrams := range captures(f) {
		var all []byte
		for _, b := range datagrams {
			f.Add(b)
			all = append(all, b...)
		}
		f.Add(all)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Parse(nil, b, 0, true)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		for _, m := range all {
			l := m.Link
			if m.Type != unix.RTM_NEWLINK && m.Type != unix.RTM_DELLINK {
				continue
			}
			if l.Ifindex == 0 || l.Ifindex > math.MaxInt32 || l.Peer.Ifindex > math.MaxInt32 || l.Peer.NSID < NSIDUnknown || l.Name == "" || len(l.Name) > MaxName {
				t.Fatalf("invalid link: %+v", l)
			}
		}
	})
}
