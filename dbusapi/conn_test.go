package dbusapi

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// bareConn is a conn without a bus: the test writes what the bus would, to the other
// end, and reads as godbus would.
func bareConn(t *testing.T, handle func(*conn, *message)) (*conn, net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	c := &conn{
		connConfig: connConfig{maxBody: 1000, handle: handle, timeout: time.Hour}, sock: here,
		in: bufio.NewReaderSize(here, readBuffer), out: newOutbox(here, time.Hour),
		calls: map[uint32]chan *message{}, done: make(chan struct{}), writer: make(chan struct{}),
	}
	c.begun.Store(true)
	go func() {
		defer close(c.writer)
		c.fail(c.out.run())
	}()
	t.Cleanup(func() {
		c.close()
		_ = there.Close()
	})
	return c, there
}

// fromBus is a reply of the bus itself, which goes on to godbus.
func fromBus(serial uint32) *bustest.Message {
	return &bustest.Message{Type: bustest.TypeReturn, Serial: serial, ReplySerial: 1, Sender: busName, Signature: "s", Body: new(bustest.Body).String("hello").Bytes()}
}

func TestMessagesOverLimits(t *testing.T) {
	handled := make(chan *message, 10)
	c, bus := bareConn(t, func(_ *conn, m *message) { handled <- m })
	call := func(size int) *bustest.Message {
		m := reportCall("x", "a", strings.Repeat("y", size))
		m.Serial, m.Sender = uint32(size+1), ":1.1"
		return m
	}
	longHeader := call(10)
	longHeader.Path = "/" + strings.Repeat("x", maxHeader)
	badHeader := call(20)
	badHeader.Signature = "a" // the path is right, but see the field below
	raw := badHeader.Marshal()
	raw[16] = 3 // the first field, a path, becomes the member: of the wrong type
	go func() {
		for _, b := range [][]byte{
			call(1).Marshal(), longHeader.Marshal(), call(2).Marshal(), raw, call(3).Marshal(),
			call(200_000).Marshal(), call(4).Marshal(), fromBus(77).Marshal(),
		} {
			if _, err := bus.Write(b); err != nil {
				t.Error(err)
			}
		}
	}()
	// Nothing of all that reaches godbus but the last.
	m, err := bustest.ReadMessage((*transport)(c))
	if err != nil || m.Serial != 77 || m.Sender != busName {
		t.Fatalf("godbus reads %+v, %v", m, err)
	}
	for _, want := range []uint32{2, 3, 4, 200_001, 5} {
		m := await(t, "a message", handled)
		big := want == 200_001
		if m.Serial != want || m.tooBig != big || (m.body == "") != big || m.BodySize < int(want)-1 {
			t.Errorf("handled was %d, too big %v, %d bytes; want %d", m.Serial, m.tooBig, len(m.body), want)
		}
	}
	if cap(c.frame) > 1<<16 {
		t.Errorf("%d bytes are kept for frames", cap(c.frame))
	}
	if len(handled) != 0 {
		t.Error("more was handled")
	}
}

// Only the bus itself is heard by godbus: what others send as a reply is not.
func TestRepliesOfStrangers(t *testing.T) {
	handled := make(chan *message, 10)
	c, bus := bareConn(t, func(_ *conn, m *message) { handled <- m })
	stranger, failure, nobody := fromBus(1), fromBus(2), fromBus(3)
	stranger.Sender = ":1.5"
	failure.Sender, failure.Type, failure.ErrorName = ":1.5", bustest.TypeError, "a.b.C"
	nobody.Sender = ""
	go func() {
		for _, m := range []*bustest.Message{stranger, failure, nobody, fromBus(77)} {
			if _, err := bus.Write(m.Marshal()); err != nil {
				t.Error(err)
			}
		}
	}()
	m, err := bustest.ReadMessage((*transport)(c))
	if err != nil || m.Serial != 77 || m.Sender != busName {
		t.Fatalf("godbus reads %+v, %v", m, err)
	}
	for _, want := range []uint32{1, 2, 3} {
		if m := await(t, "a message", handled); m.Serial != want {
			t.Errorf("handled was %d, want %d", m.Serial, want)
		}
	}
}

// A message that the connection does not want is passed over, and the next one is whole.
func TestRefusedUnread(t *testing.T) {
	handled := make(chan *message, 10)
	c, bus := bareConn(t, func(_ *conn, m *message) { handled <- m })
	c.admit = func(m *message) error {
		if m.Serial == 2 {
			return errEnough
		}
		return nil
	}
	go func() {
		for i := range uint32(3) {
			m := reportCall("x", "a", strings.Repeat("y", 500))
			m.Serial, m.Sender = i+1, ":1.1"
			_, _ = bus.Write(m.Marshal())
		}
		_, _ = bus.Write(fromBus(77).Marshal())
	}()
	if m, err := bustest.ReadMessage((*transport)(c)); err != nil || m.Serial != 77 {
		t.Fatalf("godbus reads %+v, %v", m, err)
	}
	for i := range uint32(3) {
		m := await(t, "a message", handled)
		if refused := m.Serial == 2; m.Serial != i+1 || (m.refused != nil) != refused || (m.body == "") != refused || m.size < len(m.body) {
			t.Errorf("handled was %d, refused %v, with %d bytes", m.Serial, m.refused, len(m.body))
		}
	}
}

// A reader may take a message in as small parts as it likes.
func TestReadInParts(t *testing.T) {
	c, bus := bareConn(t, nil)
	want := fromBus(5).Marshal()
	go func() { _, _ = bus.Write(want) }()
	var got []byte
	for len(got) < len(want) {
		part := make([]byte, 3)
		n, err := (*transport)(c).Read(part)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part[:n]...)
	}
	if string(got) != string(want) {
		t.Errorf("read was %q, want %q", got, want)
	}
}

func TestStreamThatCannotBeFollowed(t *testing.T) {
	c, bus := bareConn(t, nil)
	go func() { _, _ = bus.Write([]byte("HTTP/1.1 400 Bad Request")) }()
	if _, err := (*transport)(c).Read(make([]byte, 10)); !errors.Is(err, wire.ErrHeader) {
		t.Error("Read:", err)
	}
	await(t, "the connection ends", c.done)
	if err := c.reason(nil); !errors.Is(err, wire.ErrHeader) {
		t.Error("reason:", err)
	}
	if _, err := c.call(t.Context(), &wire.Header{}, nil); !errors.Is(err, wire.ErrHeader) {
		t.Error("call:", err)
	}
}

func TestSerials(t *testing.T) {
	c := &conn{}
	c.serial.Store(1<<32 - 2)
	if a, b := c.nextSerial(), (serials{c}).GetSerial(); a != 1<<32-1 || b != 1 {
		t.Errorf("serials are %d, %d", a, b)
	}
}
