package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/live"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const containersLong = `List the containers whose state is known, with their last state and its time.
Stopped containers are left out, unless --all, --state, --id or an argument
asks for them; the service keeps the 1,024 that stopped last. Arguments select
containers. A flag that is given several times matches any of its values. With
--watch the table stays on the terminal; the command list has the keys.

Exit status: 0 on success; 1 on an error, also if an argument, or a flag other
than --state, names something unknown.`

func (a *app) containers() *cobra.Command {
	var (
		all   bool
		want  rowFilter
		view  listFlags
		table = tableOf[hub.Container]{
			list: (*client.Client).Containers, title: "containers",
			columns: []string{"CONTAINER", "STATE", "SINCE"}, state: 1,
			row: containerRow, json: containerJSON, fields: containerFields,
			events: []string{hub.TypeState, hub.TypeDB, hub.TypeInfo}, fold: foldContainer,
		}
	)
	cmd := &cobra.Command{
		Use:   "containers [POOL:ID]...",
		Short: "List containers and their last state",
		Long:  containersLong,
		Example: `  osctl-eventctl containers
  osctl-eventctl containers --all --pool tank
  osctl-eventctl containers --watch
  osctl-eventctl containers --json | jq -a 'select(.state == "error") | .id'`,
		ValidArgsFunction: a.completeContainers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := want.parse(args); err != nil {
				return err
			}
			want.noStopped = !all && len(args) == 0 && len(want.states) == 0 && len(want.IDs) == 0
			return runList(cmd.Context(), a, &table, &want, view)
		},
	}
	want.flags(cmd, false)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show stopped containers, too")
	view.flags(cmd)
	a.completeFlags(cmd)
	return cmd
}

// containerRow shows a container.
func containerRow(c *hub.Container) live.Row {
	return live.Row{
		Key:   c.Pool + ":" + c.ID,
		Cells: []string{label(c.Pool, c.ID, c.Name), cmp.Or(terminal.Printable(c.State), "-"), c.Time.Local().Format(time.DateTime)},
	}
}

func containerFields(c *hub.Container) rowFields {
	return rowFields{pool: c.Pool, id: c.ID, ctName: c.Name, state: c.State}
}

func containerJSON(c *hub.Container) any {
	return struct {
		Pool   string    `json:"pool"`
		ID     string    `json:"id"`
		State  string    `json:"state"`
		Time   time.Time `json:"time"`
		CtName string    `json:"ct_name,omitempty"`
		Image  string    `json:"image,omitempty"`
	}{c.Pool, c.ID, c.State, c.Time.UTC(), c.Name, c.Image}
}

// foldContainer takes an event into the list.
func foldContainer(rows []hub.Container, e *hub.Event) []hub.Container {
	at := slices.IndexFunc(rows, func(c hub.Container) bool { return c.Pool == e.Pool && c.ID == e.ID })
	switch {
	case e.Type == hub.TypeState:
		row := hub.Container{Pool: e.Pool, ID: e.ID, State: e.Action, Time: e.Time, Name: e.Options.Text(hub.OptionName)}
		if at < 0 {
			return append(rows, row)
		}
		row.Name, row.Image = rows[at].Name, rows[at].Image
		rows[at] = row
	case e.Type == hub.TypeInfo:
		return foldInfo(rows, at, e)
	case e.Type == hub.TypeDB && e.Action == "remove" && e.Options.Text("object") == "container" && at >= 0:
		return slices.Delete(rows, at, at+1)
	}
	return rows
}

// foldInfo takes the name of the container in row at, or of a new one if that is -1. Another
// container of the pool loses the name.
func foldInfo(rows []hub.Container, at int, e *hub.Event) []hub.Container {
	name := e.Options.Text("name")
	for i := range rows {
		if rows[i].Pool == e.Pool && rows[i].Name == name {
			rows[i].Name = ""
		}
	}
	if at < 0 {
		at, rows = len(rows), append(rows, hub.Container{Pool: e.Pool, ID: e.ID, Time: e.Time})
	}
	rows[at].Name, rows[at].Image = name, e.Options.Text("image")
	return rows
}
