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

// linkRefresh is how often a live view of interfaces lists them again: not every change
// of an interface is an event.
const linkRefresh = 2 * time.Second

// listFlags are the flags that list and containers share.
type listFlags struct{ json, watch bool }

func (f *listFlags) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object a line")
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "keep the table on the terminal, and keep it current")
	either(cmd, "json", "watch")
}

// tableOf says how rows are fetched, followed and shown.
type tableOf[Row any] struct {
	list    func(*client.Client, context.Context, hub.Filter) ([]Row, string, error)
	title   string
	columns []string
	state   int  // the column with the state
	links   bool // arguments may name interfaces
	row     func(*Row) live.Row
	json    func(*Row) any
	fields  func(*Row) rowFields

	events  []string                      // types of those that change rows
	fold    func([]Row, *hub.Event) []Row // takes an event into the rows
	refresh time.Duration                 // see [client.Watcher]
}

// runList prints the rows that are wanted, or watches them.
func runList[Row any](ctx context.Context, a *app, t *tableOf[Row], want *rowFilter, view listFlags) error {
	filter, err := want.asked()
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
			err = fmt.Errorf("nothing is known of %s; osctl-eventctl list and osctl-eventctl containers --all show what is",
				strings.Join(unknown, ", "))
		}
		return err
	})
}

// findUnknown resolves the arguments, and returns what these and the flags name that no row is of,
// whatever its state. A container whose state is known need not have an interface.
func findUnknown[Row any](
	ctx context.Context, c *client.Client, t *tableOf[Row], want *rowFilter, rows []Row,
) (resolved *rowFilter, unknown []string, err error) {
	named := slices.Concat(want.Pools, want.IDs, want.Names, want.Veths)
	if len(want.targets) == 0 && len(named) == 0 {
		return want, nil, nil
	}
	filter, err := want.asked()
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
	one := rowFilter{selection: resolved.selection}
	if len(want.targets) == 0 {
		if slices.ContainsFunc(there, one.covers) {
			named = nil
		}
		return resolved, named, nil
	}
	for i, name := range resolved.targets {
		if one.targets = []target{name}; !slices.ContainsFunc(there, one.covers) {
			unknown = append(unknown, want.targets[i].String())
		}
	}
	return resolved, unknown, nil
}

// printTable prints rows under a header.
func printTable[Row any](a *app, t *tableOf[Row], rows []Row) error {
	width := make([]int, len(t.columns))
	lines := []live.Row{{Cells: t.columns}}
	made := live.NewTable(t.columns)
	cells := make([]live.Row, len(rows))
	for i := range rows {
		cells[i] = t.row(&rows[i])
	}
	made.Set(cells, time.Time{})
	lines = append(lines, made.Rows()...)
	for _, line := range lines {
		for i, cell := range line.Cells {
			width[i] = max(width[i], uniseg.StringWidth(cell))
		}
	}
	colour := a.out.Colourful()
	var b []byte
	for n, line := range lines {
		for i, cell := range line.Cells {
			with := terminal.InkNone
			switch {
			case n == 0:
				with = terminal.InkBold
			case i == t.state:
				with = terminal.InkOf(cell)
			}
			if b = terminal.Paint(b, colour, with, cell); i < len(line.Cells)-1 {
				b = append(b, strings.Repeat(" ", width[i]-uniseg.StringWidth(cell)+2)...)
			}
		}
		b = append(b, '\n')
	}
	_, err := a.out.Write(b)
	return err
}

// watchList shows rows as they change, until the user quits.
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
	a.endless.Store(true)
	view := live.New(live.Config{
		Title: t.title, Columns: t.columns, ToneColumn: t.state, Tone: toneOf, Colour: a.out.Colourful(),
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The terminal is taken over once the service has answered.
	answered, ended := make(chan struct{}), make(chan error, 1)
	feed := &feed[Row]{app: a, table: t, want: want, view: view, answered: answered, names: newNameTable(nil, nil)}
	go func() {
		ended <- client.Watch(ctx, client.Watcher[Row]{
			Address: address, List: t.list, Rows: filter, Events: events, Refresh: t.refresh, Pulse: pulse,
		}, feed.take)
		cancel()
	}()
	select {
	case <-answered:
	case err := <-ended:
		return err
	}
	a.grace.Store(int64(orderly))
	err = view.Run(ctx)
	cancel()
	if watched := <-ended; err == nil && !errors.Is(watched, context.Canceled) {
		err = watched
	}
	return err
}

// feed brings what is watched into a view.
type feed[Row any] struct {
	app      *app
	table    *tableOf[Row]
	want     *rowFilter
	view     *live.View
	answered chan struct{} // closed with the first list
	rows     []Row
	names    *nameTable
}

func (f *feed[Row]) take(w client.Watched[Row]) error {
	switch {
	case w.Down != nil:
		f.view.Trouble(terminal.Printable(f.app.describeOutage(w.Down)))
	case w.Up:
		f.view.Trouble("")
	case w.Listed:
		f.rows = w.Rows
		return f.show()
	case len(w.Events) > 0: // when some are gone, the list that follows says all
		f.fold(w.Events)
		return f.show()
	}
	return nil
}

func (f *feed[Row]) fold(events []*hub.Event) {
	for _, event := range events {
		f.rows = f.table.fold(f.rows, event)
	}
}

// show hands the rows that are wanted to the view.
func (f *feed[Row]) show() error {
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
	f.view.Set(cells)
	if f.answered != nil {
		close(f.answered)
		f.answered = nil
	}
	return nil
}

// toneOf returns the tone of a state.
func toneOf(state string) live.Tone {
	switch terminal.InkOf(state) {
	case terminal.InkGood:
		return live.Good
	case terminal.InkBad:
		return live.Bad
	case terminal.InkPass:
		return live.Pass
	case terminal.InkNone, terminal.InkBold, terminal.InkFaint:
	}
	return live.Plain
}
