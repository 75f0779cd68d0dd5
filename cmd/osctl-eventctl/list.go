package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/live"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const listLong = `List the veths on this host: their container, their name inside it, their
state, and their name on the host. Arguments select containers or interfaces of
them. If a flag is given several times, any of its values may match.

` + nameHelp + `

The state is up (usable), no-carrier (set up, but the other end is not) or
down. With --watch the table stays on the terminal and is kept current. For a
few seconds added rows are marked with +, changed rows with *, and removed rows
with -. Keys: arrows, page up and page down move; / filters, Esc ends the
filter; left and right choose the column to sort by, r reverses the order; q
quits.

Exit status: 0 on success; 1 on an error, or if an argument, or a flag other
than --state, names something unknown.`

func (a *app) list() *cobra.Command {
	var (
		want  rowFilter
		view  listFlags
		table = tableOf[hub.Interface]{
			list: (*client.Client).Interfaces, title: "interfaces",
			columns: []string{"CONTAINER", "NAME", "STATE", "VETH", "IFINDEX"}, state: 2, links: true,
			row: linkRow, json: linkJSON, fields: linkFields,
			events: []string{hub.TypeNetif}, refresh: listRefresh, fold: foldLink,
		}
	)
	cmd := &cobra.Command{
		Use:     "list [POOL:ID | POOL:ID/INTERFACE]...",
		Short:   "List the interfaces of containers",
		Long:    listLong,
		Aliases: []string{"interfaces"},
		Example: `  osctl-eventctl list
  osctl-eventctl list tank:101
  osctl-eventctl list --veth veth1a2b
  osctl-eventctl list --state up --pool tank
  osctl-eventctl list --watch
  osctl-eventctl list --json | jq -a 'select(.state != "up") | .veth'`,
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := want.parse(args); err != nil {
				return fmt.Errorf("%w; use --veth for a name on the host", err)
			}
			if err := checkChoice("state", want.states, linkStates()...); err != nil {
				return err
			}
			return runList(cmd.Context(), a, &table, &want, view)
		},
	}
	want.addFlags(cmd, true)
	view.addFlags(cmd)
	a.completeFlags(cmd)
	return cmd
}

// containerLabel returns POOL:NAME, or POOL:ID for a container without a name.
func containerLabel(pool, id, name string) string {
	return line.Container(terminal.Printable(pool), terminal.Printable(line.Name(id, name)))
}

// linkRow returns the table row of an interface.
func linkRow(i *hub.Interface) live.Row {
	return live.Row{
		Key: strconv.FormatUint(uint64(i.Ifindex), 10),
		Cells: []string{
			containerLabel(i.Pool, i.ID, i.ContainerName), cmp.Or(terminal.Printable(i.Name), "-"), terminal.Printable(string(i.State)), terminal.Printable(i.Veth),
			strconv.FormatUint(uint64(i.Ifindex), 10),
		},
	}
}

func linkFields(i *hub.Interface) rowFields {
	return rowFields{i.Pool, i.ID, i.ContainerName, i.Name, i.Veth, string(i.State)}
}

func linkJSON(i *hub.Interface) any {
	return struct {
		Ifindex uint32        `json:"ifindex"`
		Veth    string        `json:"veth"`
		Name    string        `json:"name"`
		Pool    string        `json:"pool"`
		ID      string        `json:"id"`
		State   hub.LinkState `json:"state"`
		CtName  string        `json:"ct_name,omitempty"`
	}{i.Ifindex, i.Veth, i.Name, i.Pool, i.ID, i.State, i.ContainerName}
}

// foldLink applies an event to the list. An event does not say whether an interface is down, without
// carrier or gone; the next listing does.
func foldLink(rows []hub.Interface, e *hub.Event) []hub.Interface {
	v, _ := e.Options.Get("ifindex")
	ifindex := uint32(v.Uint()) //nolint:gosec // an ifindex has 31 bits
	if e.Source != hub.SourceNetlink || ifindex == 0 {
		return rows
	}
	at := slices.IndexFunc(rows, func(i hub.Interface) bool { return i.Ifindex == ifindex })
	if at < 0 {
		if e.Action != "up" {
			return rows
		}
		at, rows = len(rows), append(rows, hub.Interface{Ifindex: ifindex})
	}
	row := &rows[at]
	row.Veth, row.Name, row.Pool, row.ID = e.Options.Text("veth"), e.Options.Text("name"), e.Pool, e.ID
	row.ContainerName = e.Options.Text(hub.OptionName)
	switch e.Action {
	case "up":
		row.State = hub.LinkUp
	case "down":
		if gone, _ := e.Options.Get("gone"); gone.Bool() {
			return slices.Delete(rows, at, at+1)
		}
		row.State = hub.LinkDown
	case "rename":
		row.Name = e.Options.Text("new_name")
	}
	return rows
}

// encodeRows prints the rows as JSON objects, one a line.
func encodeRows[Row any](a *app, rows []Row, of func(*Row) any) error {
	encoder := json.NewEncoder(a.out)
	for i := range rows {
		if err := encoder.Encode(of(&rows[i])); err != nil {
			return err
		}
	}
	return nil
}
