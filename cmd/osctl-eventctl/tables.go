package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/live"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// listRefresh is how often a live view lists again, because not every change is an event: an interface has
// no carrier, or the service drops a container that stopped long ago.
const listRefresh = 2 * time.Second

// listFlags are the flags that list and containers share.
type listFlags struct{ json, watch bool }

func (f *listFlags) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object a line")
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "show the table until you quit, and keep it current")
	markExclusive(cmd, "json", "watch")
}

// tableOf describes how to list, follow and show rows.
type tableOf[Row any] struct {
	list    func(*client.Client, context.Context, hub.Filter) ([]Row, string, error)
	title   string
	columns []string
	state   int  // index of the column with the state
	links   bool // arguments may name interfaces
	row     func(*Row) live.Row
	json    func(*Row) any
	fields  func(*Row) rowFields

	events  []string                      // types of events that change rows
	fold    func([]Row, *hub.Event) []Row // applies an event to the rows
	refresh time.Duration                 // see [client.Watcher]
}

// runList prints the selected rows, or watches them.
func runList[Row any](ctx context.Context, a *app, t *tableOf[Row], want *rowFilter, view listFlags) error {
	filter, err := want.serviceFilter()
	if err != nil {
		return err
	}
	if view.watch {
		return watchList(ctx, a, t, want, filter)
	}
	return a.call(ctx, func(ctx context.Context, client *client.Client) error {
		rows, _, err := t.list(client, ctx, filter)
		if err != nil {
			return err
		}
		want, unknown, err := findUnknown(ctx, client, t, want, rows)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(r Row) bool { return !want.covers(t.fields(&r)) })
		switch {
		case view.json:
			err = encodeRows(a, rows, t.json)
		case len(rows) > 0 || len(unknown) == 0:
			err = printTable(a, t, rows)
		}
		if err == nil && len(unknown) > 0 {
			err = fmt.Errorf("unknown: %s; see osctl-eventctl list and osctl-eventctl containers --all", strings.Join(unknown, ", "))
		}
		return err
	})
}

// findUnknown resolves the arguments. It returns the arguments that match no row in any state; if there
// is none, the flags. A known container may have no interface.
func findUnknown[Row any](
	ctx context.Context, c *client.Client, t *tableOf[Row], want *rowFilter, rows []Row,
) (resolved *rowFilter, unknown []string, err error) {
	if len(want.targets) == 0 && len(want.Pools)+len(want.IDs)+len(want.Names)+len(want.Veths) == 0 {
		return want, nil, nil
	}
	filter, err := want.serviceFilter()
	if err != nil {
		return nil, nil, err
	}
	links, containers, _, err := listBoth(ctx, c, filter)
	if err != nil {
		return nil, nil, err
	}
	if resolved, err = want.resolve(newNameTable(containers, links), t.links); err != nil {
		return nil, nil, err
	}
	var there []rowFields
	for i := range rows {
		there = append(there, t.fields(&rows[i]))
	}
	for i := range containers {
		there = append(there, containerFields(&containers[i]))
	}
	for i, t := range resolved.targets {
		one := rowFilter{selection: selection{targets: []target{t}}}
		if !slices.ContainsFunc(there, one.covers) {
			unknown = append(unknown, want.targets[i].String())
		}
	}
	if len(unknown) == 0 {
		unknown = resolved.findUnknownFlags(there)
	}
	return resolved, unknown, nil
}

// printTable prints rows under a header.
func printTable[Row any](a *app, t *tableOf[Row], rows []Row) error {
	width := make([]int, len(t.columns))
	lines := []live.Row{{Cells: t.columns}}
	for i := range rows {
		lines = append(lines, t.row(&rows[i]))
	}
	slices.SortFunc(lines[1:], live.CompareRows)
	for _, line := range lines {
		for i, cell := range line.Cells {
			width[i] = max(width[i], uniseg.StringWidth(cell))
		}
	}
	colour := a.out.Colourful()
	var b []byte
	for n, line := range lines {
		for i, cell := range line.Cells {
			style := terminal.StyleNone
			switch {
			case n == 0:
				style = terminal.StyleBold
			case i == t.state:
				style = terminal.StyleOf(cell)
			}
			if b = terminal.Paint(b, colour, style, cell); i < len(line.Cells)-1 {
				b = append(b, strings.Repeat(" ", width[i]-uniseg.StringWidth(cell)+2)...)
			}
		}
		b = append(b, '\n')
	}
	_, err := a.out.Write(b)
	return err
}

// watchList shows the rows and keeps them current, until the user quits.
func watchList[Row any](ctx context.Context, a *app, t *tableOf[Row], want *rowFilter, filter hub.Filter) error {
	if !a.out.Terminal {
		return errors.New("--watch needs a terminal; in a pipe, use monitor --json")
	}
	address, err := a.address()
	if err != nil {
		return err
	}
	events, err := filter.With("type", t.events...)
	if err != nil {
		return err
	}
	view := live.New(live.Config{Title: t.title, Columns: t.columns, StateColumn: t.state, Colour: a.out.Colourful()})
	feed := &feed[Row]{app: a, table: t, want: want, view: view, answered: make(chan struct{}), names: newNameTable(nil, nil)}
	return a.runView(ctx, feed.answered, view.Run, func(ctx context.Context) error {
		return client.Watch(ctx, client.Watcher[Row]{
			Address: address, List: t.list, Rows: filter, Events: events, Refresh: t.refresh, Pulse: pulse,
		}, feed.handleUpdate)
	})
}

// runView shows a full-screen view while follow reads from the service, until either ends. It does
// not touch the terminal before answered is closed.
func (a *app) runView(ctx context.Context, answered <-chan struct{}, show, follow func(context.Context) error) error {
	a.endless.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- follow(ctx)
		cancel()
	}()
	select {
	case <-answered:
	case err := <-ended:
		return err
	}
	a.grace.Store(int64(viewExitGrace))
	err := show(ctx)
	cancel()
	if followErr := <-ended; err == nil && !errors.Is(followErr, context.Canceled) {
		err = followErr
	}
	return err
}

// feed moves watched rows into a view.
type feed[Row any] struct {
	app      *app
	table    *tableOf[Row]
	want     *rowFilter
	view     *live.View
	answered chan struct{} // closed at the first list
	listed   bool          // answered is closed
	rows     []Row
	names    *nameTable
}

func (f *feed[Row]) handleUpdate(w client.Watched[Row]) error {
	switch {
	case w.Down != nil:
		f.view.SetProblem(terminal.Printable(f.app.describeOutage(w.Down)))
	case w.Up:
		f.view.SetProblem("")
	case w.Listed:
		f.rows = w.Rows
		return f.updateView()
	case len(w.Events) > 0: // after a loss a new list follows
		f.fold(w.Events)
		return f.updateView()
	}
	return nil
}

func (f *feed[Row]) fold(events []*hub.Event) {
	for _, event := range events {
		f.rows = f.table.fold(f.rows, event)
	}
}

// updateView hands the selected rows to the view.
func (f *feed[Row]) updateView() error {
	f.names.set(nil, nil)
	for i := range f.rows {
		fields := f.table.fields(&f.rows[i])
		f.names.put(containerRef{fields.pool, fields.id}, fields.ctName)
	}
	want, err := f.want.resolve(f.names, f.table.links)
	if err != nil {
		return err
	}
	cells := make([]live.Row, 0, len(f.rows))
	for i := range f.rows {
		if want.covers(f.table.fields(&f.rows[i])) {
			cells = append(cells, f.table.row(&f.rows[i]))
		}
	}
	f.view.SetRows(cells)
	if !f.listed {
		f.listed = true
		close(f.answered)
	}
	return nil
}
