package dbusapi

import (
	"os"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
)

func TestHostileMessages(t *testing.T) {
	for _, kind := range bustest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			h := hostileStart(t, kind)
			for _, a := range hostileAttacks(h) {
				t.Run(a.name, func(t *testing.T) { h.run(t, a) })
			}
		})
	}
}

// run makes an attack of the table, many times.
func (h *hostileTarget) run(t *testing.T, a hostileAttack) {
	h.recordUsage(t)
	if a.times == 0 {
		a.times = 10
	}
	var options []bustest.DialOption
	if a.negotiate {
		options = append(options, bustest.WithUnixFDs())
	}
	want := a.want
	if h.kind == bustest.Broker && a.broker != "" {
		want = a.broker
	}
	func() {
		raw := a.bytes()
		var fds []int
		for range a.fds {
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			fds = append(fds, int(null.Fd()))
		}
		c := h.dial(t, options...)
		defer func() { c.close() }()
		h.during(t, a.times, func() {
			outcome, err := c.attack(raw, fds...)
			if err != nil {
				t.Fatal(err)
			}
			if outcome != want {
				t.Errorf("outcome is %q, want %q", outcome, want)
			}
			if outcome == hostileCut {
				c.close()
				c = h.dial(t, options...)
			}
		})
	}()
	h.wantUnharmed(t)
}

// bytes returns the bytes to send.
func (a *hostileAttack) bytes() []byte {
	m := a.message
	switch {
	case a.raw != nil:
		return a.raw
	case a.large != nil:
		m = a.large()
	}
	m.Serial = hostileSerial
	return m.Marshal()
}
