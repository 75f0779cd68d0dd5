package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
)

func TestDial(t *testing.T) {
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			bus := bustest.Start(t, kind)
			c, err := Dial(t.Context(), "unix:path=/nowhere;"+bus.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if !strings.HasPrefix(c.Name(), ":") {
				t.Errorf("our name is %q", c.Name())
			}
			h := BusCall("GetNameOwner", "s")
			h.Serial = c.NextSerial()
			e := NewEncoder(nil)
			e.Message(h, func(e *Encoder) { e.String(c.Name()) })
			if n, err := c.Write(e.Bytes, time.Minute); n != len(e.Bytes) || err != nil {
				t.Fatal(n, err)
			}
			for {
				m, err := c.Read(admitAll)
				if err != nil {
					t.Fatal(err)
				}
				if m.ReplySerial != h.Serial {
					continue // the signal NameAcquired
				}
				if d := m.Decoder(); d.String() != c.Name() || m.Sender != BusName {
					t.Errorf("the answer of %s is %+v", m.Sender, m.Header)
				}
				break
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = c.Read(admitAll)
			}
			if !errors.Is(err, ErrBusClosed) {
				t.Error("after CloseWrite:", err)
			}
		})
	}
}

// playBus accepts one connection, calls play with it, and returns the address.
func playBus(t *testing.T, play func(sock net.Conn, in *bufio.Reader)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		sock, err := l.Accept()
		if err != nil {
			return
		}
		defer sock.Close()
		play(sock, bufio.NewReader(sock))
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "unix:path=" + path
}

// afterHello authenticates a client and answers its Hello with the bytes of say.
func afterHello(say func(serial uint32) []byte) func(net.Conn, *bufio.Reader) {
	return func(sock net.Conn, in *bufio.Reader) {
		_, _ = in.ReadString('\n')
		_, _ = io.WriteString(sock, "OK 1234deadbeef\r\n")
		_, _ = in.ReadString('\n')
		m, err := bustest.ReadMessage(in)
		if err != nil {
			return
		}
		for _, b := range say(m.Serial) { // byte by byte
			if _, err := sock.Write([]byte{b}); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, in)
	}
}

// helloReply returns the reply to Hello.
func helloReply(serial uint32) *bustest.Message {
	return &bustest.Message{
		Type: bustest.TypeReturn, Serial: 1, ReplySerial: serial, Sender: BusName, Destination: ":1.5",
		Signature: "s", Body: new(bustest.Body).String(":1.5").Bytes(),
	}
}

func TestDialFake(t *testing.T) {
	c, err := Dial(t.Context(), playBus(t, afterHello(func(serial uint32) []byte { return helloReply(serial).Marshal() })))
	if err != nil || c.Name() != ":1.5" {
		t.Fatal(c, err)
	}
	_ = c.Close()
}

func TestDialStrangeBus(t *testing.T) {
	say := func(text string) func(net.Conn, *bufio.Reader) {
		return func(sock net.Conn, in *bufio.Reader) {
			_, _ = in.ReadString('\n')
			_, _ = io.WriteString(sock, text)
			_, _ = io.Copy(io.Discard, in)
		}
	}
	change := func(change func(m *bustest.Message)) func(net.Conn, *bufio.Reader) {
		return afterHello(func(serial uint32) []byte {
			m := helloReply(serial)
			change(m)
			return m.Marshal()
		})
	}
	for name, test := range map[string]struct {
		play func(net.Conn, *bufio.Reader)
		want string
		is   error
	}{
		"rejected":         {say("REJECTED EXTERNAL\r\n"), "REJECTED EXTERNAL", nil},
		"an endless line":  {say(strings.Repeat("x", 2*maxLine)), "more than 4096 bytes", nil},
		"another protocol": {say("220 mail.example.org ESMTP\r\n"), "220 mail", nil},
		"an empty line":    {say("\n"), `""`, nil},
		"closes at once":   {func(net.Conn, *bufio.Reader) {}, "", ErrTurnedAway},
		"closes upon the first line": {func(_ net.Conn, in *bufio.Reader) {
			_, _ = in.ReadString('\n')
		}, "", ErrTurnedAway},
		"closes within its answer": {func(sock net.Conn, in *bufio.Reader) {
			_, _ = in.ReadString('\n')
			_, _ = io.WriteString(sock, "OK 12")
		}, "", ErrTurnedAway},
		"closes upon Hello": {func(sock net.Conn, in *bufio.Reader) {
			_, _ = in.ReadString('\n')
			_, _ = io.WriteString(sock, "OK 12\r\n")
			_, _ = in.ReadString('\n')
			_, _ = bustest.ReadMessage(in)
		}, "", ErrTurnedAway},
		"garbage upon Hello": {afterHello(func(uint32) []byte { return bytes.Repeat([]byte("x"), 100) }), "", errHeader},
		"a signal upon Hello": {change(func(m *bustest.Message) {
			m.Type, m.Path, m.Interface, m.Member = bustest.TypeSignal, "/", "a.b", "C"
		}), "something else", nil},
		"a call upon Hello":             {change(func(m *bustest.Message) { m.Type = bustest.TypeCall }), "something else", nil},
		"an answer to another call":     {change(func(m *bustest.Message) { m.ReplySerial++ }), "something else", nil},
		"an answer without a name":      {change(func(m *bustest.Message) { m.Body = nil }), "something else", nil},
		"an answer that is none":        {change(func(m *bustest.Message) { m.Body = []byte("\xff\xff\xff\xff") }), "something else", nil},
		"an answer with more than that": {change(func(m *bustest.Message) { m.Body = append(m.Body, 0, 0) }), "something else", nil},
		"an error": {change(func(m *bustest.Message) {
			m.Type, m.ErrorName = bustest.TypeError, ErrLimitsExceeded
		}), "hello: :1.5", &Error{Name: ErrLimitsExceeded}},
		"an error without a text": {change(func(m *bustest.Message) {
			m.Type, m.ErrorName, m.Signature, m.Body = bustest.TypeError, ErrAccessDenied, "", nil
		}), ErrAccessDenied, &Error{Name: ErrAccessDenied}},
	} {
		t.Run(name, func(t *testing.T) {
			address := playBus(t, test.play)
			c, err := Dial(t.Context(), address)
			if err == nil {
				_ = c.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), address) {
				t.Errorf("error is %q, want %q in it", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) || test.is == nil && errors.Is(err, ErrTurnedAway) {
				t.Errorf("error is %v, want %v", err, test.is)
			}
		})
	}
}

// Dial waits for a silent bus until its context is done.
func TestDialSilentBus(t *testing.T) {
	for name, play := range map[string]func(cancel func()) func(net.Conn, *bufio.Reader){
		"from the start": func(cancel func()) func(net.Conn, *bufio.Reader) {
			return func(_ net.Conn, in *bufio.Reader) {
				_, _ = in.ReadString('\n')
				cancel()
				_, _ = io.Copy(io.Discard, in)
			}
		},
		"within a line": func(cancel func()) func(net.Conn, *bufio.Reader) {
			return func(sock net.Conn, in *bufio.Reader) {
				_, _ = in.ReadString('\n')
				_, _ = io.WriteString(sock, "OK 12")
				cancel()
				_, _ = io.Copy(io.Discard, in)
			}
		},
		"upon Hello": func(cancel func()) func(net.Conn, *bufio.Reader) {
			return afterHello(func(uint32) []byte {
				cancel()
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c, err := Dial(ctx, playBus(t, play(cancel)))
			if err == nil {
				_ = c.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Error("Dial:", err)
			}
		})
	}
}

func TestDialWithoutBus(t *testing.T) {
	if _, err := Dial(t.Context(), "unix:path="+filepath.Join(t.TempDir(), "bus")); err == nil || errors.Is(err, ErrTurnedAway) {
		t.Error("no socket:", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, playBus(t, func(net.Conn, *bufio.Reader) {})); !errors.Is(err, context.Canceled) {
		t.Error("a context that is done:", err)
	}
}
