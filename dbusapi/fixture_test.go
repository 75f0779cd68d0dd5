package dbusapi

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/client"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// soon is how long waits of a caller that left may stay. By themselves they end after twice that time.
const soon = wire.MaxTimeout * time.Millisecond / 2

// served is a service that runs until the test ends or stop is called.
type served struct {
	*Service
	cancel context.CancelFunc
	ended  chan error // gets the result of Run
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// launch applies changes to a new service and runs it, without waiting for its name.
func launch(tb testing.TB, config Config, changes ...func(*Service)) *served {
	tb.Helper()
	if config.Log == nil {
		config.Log = quiet()
	}
	config.Version = "1.2.3"
	service, err := New(config)
	if err != nil {
		tb.Fatal(err)
	}
	for _, change := range changes {
		change(service)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	s := &served{Service: service, cancel: cancel, ended: make(chan error, 1)}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.ended <- service.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		select {
		case <-gone:
		case <-time.After(apitest.Patience):
			tb.Error("Run did not end")
		}
	})
	return s
}

// serve runs a service for a hub on a bus and waits until it owns the name.
func serve(tb testing.TB, bus *bustest.Bus, h *hub.Hub) *served {
	tb.Helper()
	return serveWith(tb, Config{Hub: h, Address: bus.Address()})
}

func serveWith(tb testing.TB, config Config) *served {
	tb.Helper()
	s := launch(tb, config)
	select {
	case <-s.Ready():
	case err := <-s.ended:
		tb.Fatal("the service ended:", err)
	case <-time.After(apitest.Patience):
		tb.Fatal("the service is not ready in time")
	}
	return s
}

// stop ends the service and returns the error of Run.
func (s *served) stop(tb testing.TB) error {
	tb.Helper()
	s.cancel()
	return apitest.Await(tb, "Run ends", s.ended)
}

// dial connects a client. It retries, because on a busy machine the library may time out.
func dial(tb testing.TB, bus *bustest.Bus) *client.Client {
	tb.Helper()
	for ctx := apitest.Bounded(tb); ; {
		c, err := client.Dial(ctx, bus.Address())
		if err == nil {
			tb.Cleanup(c.Close)
			return c
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			tb.Fatal(err)
		}
	}
}

// sourceOf returns the source of events that this process reports as a user.
func sourceOf(uid int) string {
	if unit := bus.UnitOf(uint32(os.Getpid())); unit != "" && uid == os.Getuid() {
		return unit
	}
	return "uid:" + strconv.Itoa(uid)
}
