package bus

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// recordingTransport is a minimal transport; godbus must not use any other method.
type recordingTransport struct {
	conn   net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (c *recordingTransport) Read(p []byte) (int, error) { return c.conn.Read(p) }
func (c *recordingTransport) Close() error               { return c.conn.Close() }

func (c *recordingTransport) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, slices.Clone(p))
	c.mu.Unlock()
	return c.conn.Write(p)
}

// control.go requires that godbus uses only Read and Write, writes a line or a whole message at a
// time, does not negotiate file descriptors, and reads only the last line of the authentication before
// BEGIN.
func TestGodbusContract(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	served := make(chan error, 1)
	go func() {
		served <- playBus(there, func(*bustest.Message) *bustest.Message {
			return &bustest.Message{Signature: "s", Body: new(bustest.Body).String(":1.7").Bytes()}
		})
	}()
	tap := &recordingTransport{conn: here}
	c, err := dbus.NewConn(tap)
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
	if err := c.BusObject().CallWithContext(t.Context(), wire.BusInterface+".Echo", 0, long).Store(&id); err != nil || id != ":1.7" {
		t.Fatal(id, err)
	}
	_ = c.Close()
	if err := apitest.Await(t, "the fake bus ends", served); err != nil {
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
	for _, b := range tap.writes[len(lines):] {
		header, size, err := wire.Sizes(b)
		if err != nil || header+size != len(b) {
			t.Errorf("a write of %d bytes is not one message of %d, %v", len(b), header+size, err)
			continue
		}
		h, err := wire.ParseHeader(b[:header])
		if err != nil || h.Destination != wire.BusName {
			t.Errorf("message is %+v, %v", h, err)
		}
	}
}

// playBus authenticates a client and answers its calls, except those for which answer returns nil.
func playBus(conn net.Conn, answer func(*bustest.Message) *bustest.Message) error {
	in := bufio.NewReader(conn)
	for _, line := range []string{"REJECTED EXTERNAL\r\n", "OK 0123456789abcdef0123456789abcdef\r\n", ""} {
		if _, err := in.ReadBytes('\n'); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, line); err != nil {
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
		reply := answer(m)
		if reply == nil {
			continue
		}
		if reply.Type == 0 {
			reply.Type = bustest.TypeReturn
		}
		reply.Serial, reply.ReplySerial, reply.Sender, reply.Destination = serial, m.Serial, wire.BusName, ":1.7"
		if _, err := conn.Write(reply.Marshal()); err != nil {
			return err
		}
	}
}
