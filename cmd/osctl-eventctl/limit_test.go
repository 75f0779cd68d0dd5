package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

// TestMonitorLimited runs a monitor while other programs of its user have used up the user's waits: the
// monitor says so once, polls, and waits again when they end.
func TestMonitorLimited(t *testing.T) {
	const maxWaitsOfUser = 1024
	bus, d := startService(t)
	wait := func(serial, timeout uint32) *bustest.Message {
		m := bustest.MethodCall(wire.Name, wire.Path, wire.Interface, "WaitEvents")
		m.Serial, m.Signature = serial, "sa{sv}uu"
		m.Body = new(bustest.Body).String("").Dict().Uint32(0).Uint32(timeout).Bytes()
		return m
	}
	var others []*bustest.Client
	for range maxWaitsOfUser / wire.MaxWaits {
		other := bus.ClientAs(t, bustest.NobodyUID)
		others = append(others, other)
		for range wire.MaxWaits {
			if err := other.Send(t.Context(), wait(other.NextSerial(), 60_000).Marshal()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := other.Call(t.Context(), wait(0, 0)); err != nil { // answered after the waits before
			t.Fatal(err)
		}
	}
	m := startCommand(t, bus, bustest.AsNobody(program(), "monitor", "--type", "x"))
	m.line(t, &m.Err, "osctl-eventd is busy: user 65534 has 1024 pending WaitEvents calls, no more are taken; asking it once a second", nil)
	for i := range 5 { // each needs another polling call
		report(t, d.Client(t), 1, "x", "n", fmt.Sprint(i))
		m.line(t, &m.Out, fmt.Sprintf("n=\"%d\"", i), nil)
	}
	if text := m.Err.String(); strings.Count(text, "\n") != 1 {
		t.Errorf("stderr is %s, want one line", text)
	}
	for _, other := range others {
		_ = other.Close()
	}
	m.line(t, &m.Err, "osctl-eventd is back", nil)
	report(t, d.Client(t), 1, "x", "n", "last")
	m.line(t, &m.Out, "n=last", nil)
}
