package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// pipe returns a connection and the socket of its peer.
func pipe(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() {
		_ = here.Close()
		_ = there.Close()
	})
	return NewConn(here), there
}

// connReading returns a connection to a peer that writes chunks and closes.
func connReading(t *testing.T, chunks ...[]byte) *Conn {
	t.Helper()
	c, peer := pipe(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer peer.Close()
		for _, b := range chunks {
			if _, err := peer.Write(b); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c
}

func admitAll(*Message) error { return nil }

// numbered returns a call with a string of the given size as body.
func numbered(serial uint32, size int) *bustest.Message {
	m := bustest.MethodCall(":1.1", "/a", "a.b", "C")
	m.Serial, m.Sender, m.Signature, m.Body = serial, ":1.9", "s", new(bustest.Body).String(strings.Repeat("x", size)).Bytes()
	return m
}

// wantMessage reads a message that numbered made.
func wantMessage(t *testing.T, c *Conn, serial uint32, size int) *Message {
	t.Helper()
	m, err := c.Read(admitAll)
	if err != nil {
		t.Fatalf("message %d: %v", serial, err)
	}
	d := m.Decoder()
	if s := d.String(); m.Serial != serial || len(s) != size || d.Finish() != nil || m.Sender != ":1.9" {
		t.Fatalf("message %d of %s with %d bytes, %v; want %d with %d", m.Serial, m.Sender, len(s), d.Err(), serial, size)
	}
	return m
}

func TestReadSkipsMalformed(t *testing.T) {
	large := numbered(1, 10)
	large.Path = "/" + strings.Repeat("x", maxHeader)
	largeBody := numbered(1, 3*maxHeader)
	largeBody.Path = large.Path
	malformed := numbered(1, 200_000).Marshal()
	malformed[16] = 3 // the first field, a path, becomes the member: of the wrong type
	for name, raw := range map[string][]byte{
		"large header":               large.Marshal(),
		"large header, large body":   largeBody.Marshal(),
		"malformed header":           malformed,
		"header without any padding": append([]byte("l\x01\x00\x01\x08\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00abc"), make([]byte, 5+8)...),
	} {
		t.Run(name, func(t *testing.T) {
			c := connReading(t, numbered(7, 3).Marshal(), raw, raw, numbered(8, 100_000).Marshal(), numbered(9, 0).Marshal())
			wantMessage(t, c, 7, 3)
			wantMessage(t, c, 8, 100_000)
			wantMessage(t, c, 9, 0)
			if _, err := c.Read(admitAll); !errors.Is(err, ErrBusClosed) {
				t.Error("at the end:", err)
			}
		})
	}
}

// A header of exactly maxHeader bytes is read.
func TestReadLargestHeader(t *testing.T) {
	m := numbered(1, 5)
	m.Path = "/"
	header, _, err := Sizes(m.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	m.Path += strings.Repeat("x", maxHeader-header)
	if header, _, _ := Sizes(m.Marshal()); header != maxHeader {
		t.Fatalf("the header has %d bytes", header)
	}
	c := connReading(t, numbered(7, 3).Marshal(), m.Marshal())
	wantMessage(t, c, 7, 3)
	wantMessage(t, c, 1, 5)
}

func TestReadRefused(t *testing.T) {
	unwanted := errors.New("unwanted")
	for _, size := range []int{0, 500, 200_000} {
		c := connReading(t, numbered(1, size).Marshal(), numbered(2, size).Marshal())
		m, err := c.Read(func(m *Message) error {
			if m.Sender != ":1.9" || m.BodySize < size {
				t.Errorf("asked about %d bytes of %s", m.BodySize, m.Sender)
			}
			return unwanted
		})
		if err != nil || !errors.Is(m.Refused, unwanted) || m.Serial != 1 || m.Size >= 200 || m.Frame() != nil {
			t.Fatalf("%+v, %v", m, err)
		}
		m.Clear()
		if d := m.Decoder(); d.String() != "" || d.Err() == nil {
			t.Error("the decoder of a refused body returns data")
		}
		wantMessage(t, c, 2, size)
	}
}

// Size includes the header twice, because the limits of a sender count the memory in use.
func TestMessageSize(t *testing.T) {
	raw := numbered(1, 1000).Marshal()
	m := wantMessage(t, connReading(t, raw), 1, 1000)
	header, body, _ := Sizes(raw)
	if m.Size != 2*header+body || !bytes.Equal(m.Frame(), raw) {
		t.Errorf("size is %d, of a header of %d and a body of %d bytes", m.Size, header, body)
	}
}

func TestReadGarbage(t *testing.T) {
	c := connReading(t, numbered(1, 1).Marshal(), []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	wantMessage(t, c, 1, 1)
	for range 2 {
		if _, err := c.Read(admitAll); !errors.Is(err, errHeader) {
			t.Error("Read:", err)
		}
	}
}

func TestReadTruncated(t *testing.T) {
	raw := numbered(1, 100).Marshal()
	for n := range raw {
		if _, err := connReading(t, raw[:n]).Read(admitAll); !errors.Is(err, ErrBusClosed) {
			t.Errorf("after %d bytes of %d: %v", n, len(raw), err)
		}
	}
}

// Clear leaves no part of the body in the message or in the buffer of the connection.
func TestMessageClear(t *testing.T) {
	c := connReading(t, bytes.Join([][]byte{numbered(1, 40_000).Marshal(), numbered(2, 40_000).Marshal()}, nil))
	for i := range uint32(2) {
		m := wantMessage(t, c, i+1, 40_000)
		if m.Clear(); bytes.Contains(m.Frame(), []byte("xx")) {
			t.Error("the message still has its body")
		}
	}
	if bytes.Contains(c.in.buf, []byte("xx")) {
		t.Error("the buffer still has a body")
	}
}

// Values share the memory of the message: a copy of a secret would stay when the message is cleared.
func TestClearLeavesNoValue(t *testing.T) {
	for typ, build := range map[string]func(b *bustest.Body){
		"s":  func(b *bustest.Body) { b.String("secret") },
		"ay": func(b *bustest.Body) { b.Array(1, func(b *bustest.Body) { b.Byte('s').Byte('e') }) },
	} {
		m := numbered(1, 0)
		m.Signature, m.Body = "v", new(bustest.Body).Variant(typ, build).Bytes()
		read, err := connReading(t, m.Marshal()).Read(admitAll)
		if err != nil {
			t.Fatal(err)
		}
		text := read.Decoder().Value("v", 2).Unwrap().Text()
		if read.Clear(); strings.Trim(text, "\x00") != "" {
			t.Errorf("%s: %q is left", typ, text)
		}
	}
}

func TestInterruptRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Read(admitAll)
			ended <- err
		}()
		synctest.Wait()
		c.Interrupt(ErrClosed)
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Error("the current Read:", err)
		}
		if _, err := c.Read(admitAll); !errors.Is(err, ErrClosed) {
			t.Error("a later Read:", err)
		}
		if n, err := c.Write([]byte("x"), time.Hour); n != 0 || !errors.Is(err, ErrClosed) {
			t.Error("a later Write:", err)
		}
	})
}

// Write does not give up on a slow bus, however long it takes.
func TestWriteToSlowPeer(t *testing.T) {
	for _, test := range []struct {
		size, portion int
		pause         time.Duration
	}{
		{1 << 20, 8 << 10, 20 * time.Millisecond},
		{20, 1, 700 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe(t)
			want := make([]byte, test.size)
			for i := range want {
				want[i] = byte(i % 251)
			}
			got := make(chan []byte, 1)
			go func() {
				var all []byte
				for portion := make([]byte, test.portion); len(all) < len(want); time.Sleep(test.pause) {
					n, err := peer.Read(portion)
					if err != nil {
						break
					}
					all = append(all, portion[:n]...)
				}
				got <- all
			}()
			n, err := c.Write(want, time.Second)
			_ = c.Close()
			if n != len(want) || err != nil || !bytes.Equal(<-got, want) {
				t.Errorf("%d of %d bytes, %v", n, len(want), err)
			}
		})
	}
}

func TestWriteToStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := pipe(t)
		go func() { _, _ = io.ReadFull(peer, make([]byte, 10)) }()
		start := time.Now()
		n, err := c.Write(make([]byte, 100), time.Second)
		if n != 10 || err == nil || !strings.Contains(err.Error(), "took nothing for 1s") {
			t.Errorf("%d bytes, %v", n, err)
		}
		if d := time.Since(start); d < time.Second || d > 2*time.Second {
			t.Errorf("Write gave up after %v", d)
		}
	})
}

func TestInterruptWrite(t *testing.T) {
	for _, take := range []int{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe(t)
			type result struct {
				n   int
				err error
			}
			ended := make(chan result, 1)
			go func() {
				n, err := c.Write(make([]byte, 100), time.Hour)
				ended <- result{n, err}
			}()
			if _, err := io.ReadFull(peer, make([]byte, take)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			start := time.Now()
			c.Interrupt(ErrClosed)
			if r := <-ended; r.n != take || !errors.Is(r.err, ErrClosed) || time.Since(start) > 0 {
				t.Errorf("%d bytes, %v, after %v", r.n, r.err, time.Since(start))
			}
		})
	}
}

func TestWriteToPeerThatLeft(t *testing.T) {
	c, peer := pipe(t)
	_ = peer.Close()
	if n, err := c.Write([]byte("x"), time.Hour); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestNextSerial(t *testing.T) {
	c := &Conn{}
	c.serial.Store(1<<32 - 2)
	if a, b := c.NextSerial(), c.NextSerial(); a != 1<<32-1 || b != 1 {
		t.Errorf("serials are %d, %d", a, b)
	}
}

// The bus disconnects a client that sends invalid text, so it is escaped.
func TestEncodeInvalidText(t *testing.T) {
	for s, want := range map[string]string{
		"":              "",
		"a\tb\nc\u00e9": "a\tb\nc\u00e9",
		"\xff":          `\xff`,
		"a\x00b":        `a\x00b`,
		"\x00":          `\x00`,
		"k\xc3":         `k\xc3`,
		"\xed\xa0\x80":  `\xed\xa0\x80`, // half of a surrogate pair
	} {
		e := NewEncoder(nil)
		e.String(s)
		d := NewDecoder(string(e.Bytes), false)
		if got := d.String(); got != want || d.Finish() != nil {
			t.Errorf("%q became %q, %v; want %q", s, got, d.Err(), want)
		}
	}
	long := strings.Repeat("\xff", 100_000)
	e := NewEncoder(nil)
	e.String(long)
	if d := NewDecoder(string(e.Bytes), false); d.String() != strings.Repeat(`\xff`, len(long)) || d.Finish() != nil {
		t.Error("a long string is cut")
	}
}
