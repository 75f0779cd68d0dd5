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

// serve wires the parts together and runs them until ctx is done. It stops them
// against the flow: first what makes events, then what announces them. If ctx is done while it still
// waits for the disk, it returns the error of ctx.
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
	address, err := busAddress(groupCtx, group, opts.bus, stdout)
	if err != nil {
		return err
	}
	defer address.close()
	owners, err := containers.New(containers.Config{Log: log})
	if err != nil {
		return fmt.Errorf("find the containers: %w", err)
	}
	defer func() { _ = owners.Close() }()
	watcher, err := netwatch.New(netwatch.Config{Hub: events, Logger: log, Owners: owners, Boot: boot})
	if err != nil {
		return fmt.Errorf("watch the kernel's links: %w", err)
	}
	service, err := dbusapi.New(dbusapi.Config{
		Hub: events, Log: log, Address: address.text, Version: version, Missing: watcher.Missing,
	})
	if err != nil {
		return errors.Join(err, watcher.Close())
	}

	entries := func(context.Context) error { return nil }
	if opts.journal {
		journal, err := newJournal(ctx, log, events, opts.journalDir(), journalSocket)
		if err != nil {
			return errors.Join(err, watcher.Close())
		}
		entries = journal.Run
	}

	// The service outlives the group's context until the watcher has committed its
	// last events, and the journal outlives the service.
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
	group.Go(func() error { return entries(journalCtx) })
	group.Go(func() error { return events.Run(serviceCtx) })
	group.Go(func() error {
		return supervise(groupCtx, log, events, watcher, service)
	})
	return group.Wait()
}

// bus is where to serve, and how to end it.
type bus struct {
	text  string
	close func()
}

// busAddress resolves the flag --bus. A private bus is started, its address printed,
// and its end ends the group.
func busAddress(ctx context.Context, group *errgroup.Group, flag string, stdout io.Writer) (bus, error) {
	if flag != busPrivate {
		text, err := wire.ResolveAddress(flag)
		return bus{text, func() {}}, err
	}
	private, err := dbusapi.StartPrivateBus(ctx)
	if err != nil {
		return bus{}, err
	}
	_, _ = fmt.Fprintln(stdout, private.Address)
	group.Go(func() error { return private.Wait(ctx) })
	return bus{private.Address, private.Close}, nil
}
