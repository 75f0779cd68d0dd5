package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/dbusapi"
)

// callTimeout bounds a call that should be answered at once.
const callTimeout = 10 * time.Second

// app is what all commands share.
type app struct {
	bus      string // as given
	out, err io.Writer
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "osctl-eventctl",
		Short:         "Follow and report events of containers on this host",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	cmd.PersistentFlags().StringVar(&a.bus, "bus", dbusapi.BusSystem,
		"`BUS` on which osctl-eventd is: system, session, or an address")
	cmd.AddCommand(a.monitor(), a.report(), a.status())
	return cmd
}

// address returns the address of the bus.
func (a *app) address() (string, error) { return dbusapi.ResolveAddress(a.bus) }

// call connects to the bus and runs one call, for at most callTimeout.
func (a *app) call(ctx context.Context, do func(context.Context, *dbusapi.Client) error) error {
	address, err := a.address()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client, err := dbusapi.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, client)
}
