package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/accounts"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

const setupLong = `Write the files for a fleet of hosts into a directory: accounts.conf, which the NATS
servers include; stream.json, the configuration of the stream; and a password for each
host, for the user fleet-watch, which may only read, and for the user fleet-admin, which
may do everything.

A host may only publish on its own subject, and read the last message there. To add a
host, run setup again with the names of all hosts; it keeps the passwords.`

const setupExample = `  osctl-eventd-nats setup --out fleet node1 node2
  nats --user fleet-admin --password "$(cat fleet/fleet-admin/password)" stream add OSCTL --config fleet/stream.json`

func setupCommand(stdout io.Writer) *cobra.Command {
	f := accounts.Fleet{}
	var out string
	cmd := &cobra.Command{
		Use: "setup HOST...", Short: "Write the servers' configuration for a fleet of hosts",
		Long: setupLong, Example: setupExample, Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, hosts []string) error {
			f.Hosts = hosts
			if err := f.Check(); err != nil {
				return err
			}
			if err := f.Write(out); err != nil {
				return err
			}
			_, err := fmt.Fprintf(stdout, `Wrote %[1]s/accounts.conf, %[1]s/stream.json, and a password for each of %[2]d hosts.
1. Servers: include accounts.conf in nats-server.conf, readable by the server's user, and restart them (to add hosts, reload).
2. Stream: nats --user %[3]s --password "$(cat %[1]s/%[3]s/password)" stream add %[4]s --config %[1]s/stream.json
3. Each host: copy %[1]s/HOST/password to /etc/osctl-eventd-nats/password, and set NATS_USER=HOST in /etc/osctl-eventd-nats/env.
`, out, len(hosts), accounts.Admin, f.Stream)
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&out, "out", ".", "write into `DIR`")
	flags.StringVar(&f.Stream, "stream", fleet.DefaultStream, "`NAME` of the JetStream stream")
	flags.IntVar(&f.Replicas, "replicas", 1, "keep each message on `N` servers; more than one needs nats-server 2.10")
	flags.DurationVar(&f.MaxAge, "max-age", 14*24*time.Hour, "drop events older than `TIME`")
	flags.Int64Var(&f.MaxBytes, "max-bytes", 10<<30, "keep at most this many `BYTES`, and drop the oldest events")
	return cmd
}
