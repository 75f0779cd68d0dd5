package dbusapi

import (
	"context"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// TestCheckSeesStuckHandler wants a service whose reader never comes back to be found
// out: its connection cannot be ended, so there is no new one.
func TestCheckSeesStuckHandler(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := newHub(t, hub.Config{})
	stuck, letGo := make(chan struct{}), make(chan struct{})
	defer close(letGo)
	s := launch(t, Config{Hub: h, Address: bus.Address()}, func(s *Service) {
		s.stepTimeout = 50 * time.Millisecond
		s.methods[Interface]["ListInterfaces"] = method{in: "a{sv}", handle: func(*call) error {
			close(stuck)
			<-letGo
			return nil
		}}
	})
	<-s.Ready()
	c := bus.ClientAs(t, 0)
	m := methodCall("ListInterfaces", "a{sv}", new(bustest.Body).Dict())
	m.Serial = c.NextSerial()
	if err := c.Send(bounded(t), m.Marshal()); err != nil {
		t.Fatal(err)
	}
	<-stuck
	eventually(t, "Check finds it out", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return s.Check(ctx) != nil
	})
}

// TestCheckWithoutBus wants a service that tries to get its bus back to be well.
func TestCheckWithoutBus(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	s := serve(t, bus, newHub(t, hub.Config{}))
	bus.Kill()
	eventually(t, "the loss is noticed", func() bool { return s.current.Load() == nil })
	for range 10 {
		if err := s.Check(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
}
