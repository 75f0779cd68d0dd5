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

const containersLong = `List the containers with their last state and its time; the state is - if only
the name of a container was reported. Stopped containers are hidden unless
--all, --state, --id or an argument asks for them; the service keeps the 1,024
that stopped last. Arguments select containers. If a flag is given several
times, any of its values may match. With --watch the table stays on the
terminal; see list for the keys.

Exit status: 0 on success; 1 on an error, or if an argument, or a flag other
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
			events: []string{hub.TypeState, hub.TypeDB, hub.TypeInfo}, refresh: listRefresh, fold: foldContainer,
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
	want.addFlags(cmd, false)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also show stopped containers")
	view.addFlags(cmd)
	a.completeFlags(cmd)
	return cmd
}

// containerRow returns the table row of a container.
func containerRow(c *hub.Container) live.Row {
	return live.Row{
		Key:   c.Pool + ":" + c.ID,
		Cells: []string{containerLabel(c.Pool, c.ID, c.Name), cmp.Or(terminal.Printable(c.State), "-"), c.Time.Local().Format(time.DateTime)},
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

// foldContainer applies an event to the list.
func foldContainer(rows []hub.Container, e *hub.Event) []hub.Container {
	at := slices.IndexFunc(rows, func(c hub.Container) bool { return c.Pool == e.Pool && c.ID == e.ID })
	switch {
	case e.Type == hub.TypeState:
		row := hub.Container{Pool: e.Pool, ID: e.ID, State: e.Action, Time: e.Time, Name: e.Options.Text(hub.OptionName)}
		if at < 0 {
			return append(rows, row)
		}
		row.Name, row.Image = rows[at].Name, rows[at].Image
		if rows[at].State == row.State {
			row.Time = rows[at].Time
		}
		rows[at] = row
	case e.Type == hub.TypeInfo:
		return foldInfo(rows, at, e)
	case e.Type == hub.TypeDB && e.Action == "remove" && e.Options.Text("object") == "container" && at >= 0:
		return slices.Delete(rows, at, at+1)
	}
	return rows
}

// foldInfo names the container in row at, or a new container if at is -1. Another container of the
// pool loses the name.
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
