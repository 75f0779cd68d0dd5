package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// hugeBody is the size of bodies from other peers, which a bus allows.
const hugeBody = 30 << 20

// allocated returns the bytes that f allocates. Tests that use it do not run in parallel.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// huge returns a message with a body of hugeBody bytes.
func huge(m bustest.Message) *bustest.Message {
	m.Serial, m.Signature = 7, "ay"
	m.Body = new(bustest.Body).Uint32(hugeBody - 4).Bytes()
	m.Body = append(m.Body, make([]byte, hugeBody-4)...)
	return &m
}

// The client ignores messages without a pending call, and allocates no memory for their bodies.
func TestUnwantedMessages(t *testing.T) {
	c, bus := connectPipe(t)
	in := bufio.NewReader(bus)
	seqs, ended := make(chan uint64, 1), make(chan error, 1)
	go func() {
		seq, err := c.Report(apitest.Bounded(t), "x", nil)
		seqs <- seq
		ended <- err
	}()
	call, err := bustest.ReadMessage(in)
	if err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]bustest.Message{
		"signal":                {Type: bustest.TypeSignal, Path: "/", Interface: "a.b", Member: "Event"},
		"signal with a serial":  {Type: bustest.TypeSignal, Path: "/", Interface: "a.b", Member: "Event", ReplySerial: call.Serial},
		"reply":                 {Type: bustest.TypeReturn, ReplySerial: call.Serial + 1},
		"reply without a call":  {Type: bustest.TypeReturn},
		"error":                 {Type: bustest.TypeError, ReplySerial: call.Serial + 1, ErrorName: "a.b"},
		"call without a reply":  {Type: bustest.TypeCall, Path: "/", Member: "X", Flags: bustest.FlagNoReply},
		"message of a new type": {Type: 9, ReplySerial: call.Serial},
	} {
		raw := huge(m).Marshal()
		if n := allocated(func() { write(t, bus, raw) }); n > hugeBody/10 {
			t.Errorf("%s: %d bytes were allocated", what, n)
		}
	}
	raw := huge(bustest.Message{Type: bustest.TypeCall, Path: "/", Member: "X", Sender: ":1.7"}).Marshal()
	n := allocated(func() {
		write(t, bus, raw)
		reply, err := bustest.ReadMessage(in)
		if err != nil || reply.Type != bustest.TypeError || reply.ErrorName != wire.ErrUnknownObject ||
			reply.ReplySerial != 7 || reply.Destination != ":1.7" {
			t.Errorf("a call is answered with %+v, %v", reply, err)
		}
	})
	if n > hugeBody/10 {
		t.Errorf("call: %d bytes were allocated", n)
	}
	answer := &bustest.Message{Type: bustest.TypeReturn, Serial: 8, ReplySerial: call.Serial, Signature: "t"}
	answer.Body = new(bustest.Body).Uint64(42).Bytes()
	write(t, bus, answer.Marshal())
	if seq := apitest.Await(t, "the reply", seqs); seq != 42 {
		t.Errorf("Report = %d, %v", seq, <-ended)
	}
	// After the first reply the call is not pending any more.
	again := huge(bustest.Message{Type: bustest.TypeReturn, ReplySerial: call.Serial}).Marshal()
	if n := allocated(func() { write(t, bus, again) }); n > hugeBody/10 {
		t.Errorf("second reply: %d bytes were allocated", n)
	}
}

func write(t *testing.T, w io.Writer, raw []byte) {
	t.Helper()
	if _, err := w.Write(raw); err != nil {
		t.Error(err)
	}
}

// A reply beyond maxReply fails the call.
func TestLargeReply(t *testing.T) {
	c, bus := connectPipe(t)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Properties(apitest.Bounded(t))
		ended <- err
	}()
	call, err := bustest.ReadMessage(bus)
	if err != nil {
		t.Fatal(err)
	}
	reply := huge(bustest.Message{Type: bustest.TypeReturn, ReplySerial: call.Serial})
	reply.Body = append(reply.Body, make([]byte, maxReply+1-len(reply.Body))...)
	raw := reply.Marshal()
	if n := allocated(func() { write(t, bus, raw) }); n > hugeBody/10 {
		t.Errorf("%d bytes were allocated", n)
	}
	if err := apitest.Await(t, "the call", ended); err == nil || !strings.Contains(err.Error(), "the reply has 33554433 bytes") {
		t.Error("the call ended with", err)
	}
}

// policyAllowAll allows all messages between all peers, as far as a policy can.
const policyAllowAll = `
  <policy context="default">
    <allow send_destination="*"/>
    <allow send_type="method_call"/>
    <allow send_requested_reply="false" send_type="method_return"/>
    <allow send_requested_reply="false" send_type="error"/>
    <allow receive_requested_reply="false" receive_type="method_return"/>
    <allow receive_requested_reply="false" receive_type="error"/>
  </policy>`

// Huge messages of another user take no memory in a client.
func TestForeignMessages(t *testing.T) {
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) { testForeignMessages(t, bustest.Start(t, kind, bustest.PolicyOpen, policyAllowAll)) })
	}
}

func testForeignMessages(t *testing.T, bus *bustest.Bus) {
	t.Helper()
	c := connect(t, bus)
	peer := bus.ClientAs(t, bustest.NobodyUID)
	call := &bustest.Message{Type: bustest.TypeCall, Path: "/", Member: "X"}
	for what, m := range map[string]*bustest.Message{
		"signal": huge(bustest.Message{Type: bustest.TypeSignal, Path: "/", Interface: "a.b", Member: "Event"}),
		"reply":  huge(bustest.Message{Type: bustest.TypeReturn, ReplySerial: 2}),
		"error":  huge(bustest.Message{Type: bustest.TypeError, ReplySerial: 2, ErrorName: "a.b"}),
		"call":   huge(bustest.Message{Type: bustest.TypeCall, Path: "/", Member: "X", Flags: bustest.FlagNoReply}),
	} {
		m.Destination, m.Serial = c.conn.wire.Name(), peer.NextSerial()
		call.Destination, call.Serial = c.conn.wire.Name(), 0
		raw := m.Marshal()
		n := allocated(func() {
			if err := peer.Send(apitest.Bounded(t), raw); err != nil {
				t.Fatal(what, err)
			}
			// The answer comes after the client skipped the message.
			_, err := peer.Call(apitest.Bounded(t), call)
			apitest.WantError(t, err, wire.ErrUnknownObject)
		})
		if n > hugeBody/10 {
			t.Errorf("%s: %d bytes were allocated", what, n)
		}
	}
	if _, err := c.Report(apitest.Bounded(t), "x", nil); !HasName(err, wire.ErrServiceUnknown) {
		t.Error("a call afterwards ends with", err)
	}
}

// If the bus takes no byte, a call ends with its context, and after 10 s the connection is given up.
func TestBusHangsInWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connectPipe(t)
		begin := time.Now()
		first := make(chan error, 1)
		go func() {
			_, err := c.Report(context.Background(), "x", nil)
			first <- err
		}()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := c.Report(ctx, "x", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("a call with a deadline ended after %v with %v", time.Since(begin), err)
		}
		if err := <-first; err == nil || !strings.Contains(err.Error(), "the bus took nothing for 10s") ||
			time.Since(begin) != writeTimeout {
			t.Errorf("after %v the call ended with %v", time.Since(begin), err)
		}
		<-c.Done()
		if _, err := c.Report(context.Background(), "x", nil); err == nil {
			t.Error("a call after the end of the connection succeeded")
		}
	})
}

// The same while the client refuses a stream of calls.
func TestBusHangsInRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, bus := connectPipe(t)
		begin := time.Now()
		call := bustest.Message{Type: bustest.TypeCall, Serial: 1, Path: "/", Member: "X", Sender: ":1.7"}
		for raw := call.Marshal(); ; {
			if err := bus.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := bus.Write(raw); err != nil {
				break // the client no longer reads
			}
		}
		<-c.Done()
		if err := c.conn.wire.Err(); !strings.Contains(err.Error(), "the bus took nothing for 10s") {
			t.Errorf("after %v the connection ended with %v", time.Since(begin), err)
		}
	})
}

// A bus that takes a byte every 9 s is not given up.
func TestSlowBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, bus := connectPipe(t)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Report(context.Background(), "x", nil)
			ended <- err
		}()
		var head [5]byte
		for i := range head {
			time.Sleep(writeTimeout - time.Second)
			if _, err := io.ReadFull(bus, head[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		call, err := bustest.ReadMessage(io.MultiReader(strings.NewReader(string(head[:])), bus))
		if err != nil {
			t.Fatal(err)
		}
		reply := &bustest.Message{Type: bustest.TypeReturn, Serial: 1, ReplySerial: call.Serial, Signature: "t"}
		reply.Body = new(bustest.Body).Uint64(1).Bytes()
		write(t, bus, reply.Marshal())
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
