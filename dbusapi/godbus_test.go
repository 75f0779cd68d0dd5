package dbusapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// tapped is the bare minimum of a transport: more than this godbus may not ask for.
type tapped struct {
	conn   net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (c *tapped) Read(p []byte) (int, error) { return c.conn.Read(p) }
func (c *tapped) Close() error               { return c.conn.Close() }

func (c *tapped) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, slices.Clone(p))
	c.mu.Unlock()
	return c.conn.Write(p)
}

// counting is a serial generator that tells how often it was asked.
type counting struct {
	mu   sync.Mutex
	next uint32
}

func (c *counting) GetSerial() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return c.next
}

func (c *counting) RetireSerial(uint32) {}

// What conn.go relies on in godbus: it reads and writes through Read and Write only,
// writes a line or a whole message at a time, takes its serials from our generator,
// does not ask for file descriptors, and reads no further than the last line of the
// authentication before BEGIN. A new version that does otherwise fails here.
func TestWhatWeRelyOnInGodbus(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	served := make(chan error, 1)
	go func() { served <- fakeBus(there) }()
	tap := &tapped{conn: here}
	generator := &counting{next: 1000}
	c, err := dbus.NewConn(tap, dbus.WithSerialGenerator(generator))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth([]dbus.Auth{dbus.AuthExternal("0")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil || !slices.Equal(c.Names(), []string{":1.7"}) {
		t.Fatal(c.Names(), err)
	}
	var id string
	long := strings.Repeat("x", 100_000)
	if err := c.BusObject().CallWithContext(t.Context(), busInterface+".Echo", 0, long).Store(&id); err != nil || id != ":1.7" {
		t.Fatal(id, err)
	}
	_ = c.Close()
	if err := await(t, "the fake bus ends", served); err != nil {
		t.Fatal(err)
	}
	tap.mu.Lock()
	defer tap.mu.Unlock()
	lines := []string{"\x00", "AUTH\r\n", "AUTH EXTERNAL\r\n", "BEGIN\r\n"}
	if len(tap.writes) != len(lines)+2 {
		t.Fatalf("godbus wrote %d times: %.200q", len(tap.writes), tap.writes)
	}
	for i, line := range lines {
		if string(tap.writes[i]) != line {
			t.Errorf("write %d is %q, want %q", i, tap.writes[i], line)
		}
	}
	for i, b := range tap.writes[len(lines):] {
		header, size, err := wire.Sizes(b)
		if err != nil || header+size != len(b) {
			t.Errorf("a write of %d bytes is not one message of %d, %v", len(b), header+size, err)
			continue
		}
		h, err := wire.ParseHeader(b[:header])
		if err != nil || h.Serial != uint32(1001+i) || h.Destination != busName {
			t.Errorf("message is %+v, %v", h, err)
		}
	}
}

// fakeBus authenticates a client and answers its calls with its name.
func fakeBus(conn net.Conn) error {
	in := bufio.NewReader(conn)
	for _, answer := range []string{"REJECTED EXTERNAL\r\n", "OK 0123456789abcdef0123456789abcdef\r\n", ""} {
		if _, err := in.ReadBytes('\n'); err != nil {
			return err
		}
		if answer == "" {
			break
		}
		if _, err := io.Copy(conn, bytes.NewBufferString(answer)); err != nil {
			return err
		}
	}
	for serial := uint32(1); ; serial++ {
		m, err := bustest.ReadMessage(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		reply := &bustest.Message{
			Type: bustest.TypeReturn, Serial: serial, ReplySerial: m.Serial, Sender: busName, Destination: ":1.7",
			Signature: "s", Body: new(bustest.Body).String(":1.7").Bytes(),
		}
		if _, err := conn.Write(reply.Marshal()); err != nil {
			return err
		}
	}
}
