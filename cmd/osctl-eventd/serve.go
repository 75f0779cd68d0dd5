package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch"
	"github.com/osctl/eventd/netwatch/containers"
)

// serve wires the components and runs them until ctx is done. It stops the producers of events
// before the components that announce them. If ctx is done while serve still waits for the disk
// at the start, it returns ctx's error.
func serve(ctx context.Context, opts options, log *slog.Logger, stdout io.Writer) error {
	boot := bootID(log)
	eventLog, err := openLog(ctx, opts, boot, log)
	if err != nil {
		return err
	}
	events, err := hub.New(ctx, hub.Config{History: opts.history, Log: eventLog, Logger: log})
	if err != nil {
		return err
	}
	defer events.Close()
	group, groupCtx := errgroup.WithContext(ctx)
	bus, err := openBus(groupCtx, group, opts.bus, stdout)
	if err != nil {
		return err
	}
	defer bus.close()
	owners, err := containers.New(containers.Config{Log: log})
	if err != nil {
		return fmt.Errorf("find containers: %w", err)
	}
	defer func() { _ = owners.Close() }()
	watcher, err := netwatch.New(netwatch.Config{Hub: events, Logger: log, Owners: owners, Boot: boot})
	if err != nil {
		return fmt.Errorf("watch the kernel's links: %w", err)
	}
	service, err := dbusapi.New(dbusapi.Config{
		Hub: events, Log: log, Address: bus.address, Version: version, Missing: watcher.Missing,
	})
	if err != nil {
		return errors.Join(err, watcher.Close())
	}

	runJournal := func(context.Context) error { return nil }
	if opts.journal {
		journal, err := newJournal(ctx, log, events, opts.journalDir(), journalSocket)
		if err != nil {
			return errors.Join(err, watcher.Close())
		}
		runJournal = journal.Run
	}

	// The service runs until the watcher has committed its last events, and the journal
	// until the service has ended. So neither uses the group's context.
	serviceCtx, stopService := context.WithCancel(context.WithoutCancel(ctx))
	defer stopService()
	journalCtx, stopJournal := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJournal()
	group.Go(func() error {
		defer stopService()
		return watcher.Run(groupCtx)
	})
	group.Go(func() error {
		defer stopJournal()
		return service.Run(serviceCtx)
	})
	group.Go(func() error { return runJournal(journalCtx) })
	group.Go(func() error { return events.Run(serviceCtx) })
	group.Go(func() error {
		return supervise(groupCtx, log, events, watcher, service)
	})
	return group.Wait()
}

// bus is the bus to serve on. close stops a private one.
type bus struct {
	address string
	close   func()
}

// openBus resolves the flag --bus. It starts a private bus and prints its address; if that bus
// ends, the group ends.
func openBus(ctx context.Context, group *errgroup.Group, flag string, stdout io.Writer) (bus, error) {
	if flag != busPrivate {
		address, err := wire.ResolveAddress(flag)
		return bus{address, func() {}}, err
	}
	private, err := dbusapi.StartPrivateBus(ctx)
	if err != nil {
		return bus{}, err
	}
	_, _ = fmt.Fprintln(stdout, private.Address)
	group.Go(func() error { return private.Wait(ctx) })
	return bus{private.Address, private.Close}, nil
}
