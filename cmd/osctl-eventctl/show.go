package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const showLong = `Show one container: its state, its interfaces, and its last events. If the id
has a slash, use --pool and --id in place of the argument.

A removed container is shown as gone while the history has events of it.

` + nameHelp + `

Exit status: 0 on success; 1 on an error, or if the container is unknown.`

// defaultShown is the default of --lines.
const defaultShown = 10

func (a *app) show() *cobra.Command {
	var (
		t      target
		asJSON bool
		count  = countFlag(defaultShown)
	)
	cmd := &cobra.Command{
		Use:   "show POOL:ID",
		Short: "Show a container with its interfaces and last events",
		Long:  showLong,
		Example: `  osctl-eventctl show tank:101
  osctl-eventctl show tank:101 -n 50
  osctl-eventctl show tank:101 --json | jq .interfaces`,
		ValidArgsFunction: a.completeContainers,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			byFlags := t.pool != "" || t.id != ""
			if byFlags == (len(args) > 0) || len(args) > 1 || byFlags && (t.pool == "" || t.id == "") {
				return errors.New("show which container? Expected POOL:ID, like tank:101, or --pool and --id")
			}
			if !byFlags {
				if t, err = parseTarget(args[0]); err != nil {
					return fmt.Errorf("%w; osctl-eventctl list --veth NAME shows the container of a veth", err)
				}
			}
			return a.showContainer(cmd.Context(), t, int(count), asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.pool, "pool", "", "show a container of this `POOL`; needs --id")
	f.StringVar(&t.id, "id", "", "show the container with this `ID`; needs --pool")
	f.VarP(&count, "lines", "n", "show the last `COUNT` events")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	a.completeFlags(cmd)
	return cmd
}

// containerDetails is what show prints of a container.
type containerDetails struct {
	target
	known   *hub.Container // state and name, nil if neither is known
	links   []hub.Interface
	removed time.Time // zero unless the container is gone
	lastEvents
}

// lastEvents is a sink that collects events.
type lastEvents struct {
	events []*hub.Event
	epoch  string
}

func (l *lastEvents) event(_ context.Context, e *hub.Event, epoch string) (handled bool, err error) {
	l.events, l.epoch = append(l.events, e), epoch
	return false, nil
}

func (l *lastEvents) flush(context.Context) error { return nil }

// showContainer reads the details of a container, and prints them.
func (a *app) showContainer(ctx context.Context, t target, count int, asJSON bool) error {
	known := containerDetails{target: t}
	err := a.readLists(ctx, &known)
	if err == nil && !known.listed() {
		err = a.readHistory(ctx, &known)
	}
	if err == nil && known.name != "" {
		err = fmt.Errorf("%q: expected a container as POOL:ID, like tank:101; "+slashHint, t)
	}
	if err == nil {
		err = a.readEvents(ctx, &known.lastEvents, eventflags.Filter{Pools: []string{known.pool}, IDs: []string{known.id}}, count)
	}
	switch {
	case err != nil:
		return err
	case !known.listed() && len(known.events) == 0:
		return fmt.Errorf("%s is unknown; see osctl-eventctl list and osctl-eventctl containers --all", t)
	case asJSON:
		return known.writeJSON(a.out)
	}
	return known.write(a.out)
}

// listed reports whether the service lists the container, or an interface of it.
func (d *containerDetails) listed() bool { return d.known != nil || len(d.links) > 0 }

// readLists resolves the target by the lists of the service, and fills in its rows.
func (a *app) readLists(ctx context.Context, known *containerDetails) error {
	filter, err := hub.Filter{}.With("pool", known.pool)
	if err != nil {
		return err
	}
	return a.call(ctx, func(ctx context.Context, client *client.Client) error {
		links, containers, _, err := listBoth(ctx, client, filter)
		if err != nil {
			return err
		}
		if known.target, err = known.resolve(newNameTable(containers, links)); err != nil || known.name != "" {
			return err
		}
		known.links = slices.DeleteFunc(links, func(l hub.Interface) bool { return l.ID != known.id })
		if i := slices.IndexFunc(containers, func(c hub.Container) bool { return c.ID == known.id }); i >= 0 {
			known.known = &containers[i]
		}
		return nil
	})
}

// readEvents hands the last count events of the history to a sink, or all if count is 0. It only warns if events are
// lost meanwhile.
func (a *app) readEvents(ctx context.Context, sink sink, filter eventflags.Filter, count int) error {
	s := &stream{app: a, sink: sink, selection: selection{Filter: filter}, finite: true, tail: count > 0, count: count, cursor: hub.CursorOldest}
	var err error
	if s.filter, err = s.selection.filter(); err != nil {
		return err
	}
	if err := s.follow(ctx); !errors.Is(err, errDone) {
		return err
	}
	return nil
}

// write writes the details for people.
func (d *containerDetails) write(out *terminal.Output) error {
	colour := out.Colourful()
	state := "unknown"
	if d.known != nil && d.known.State != "" {
		state = string(terminal.Paint(nil, colour, terminal.StyleOf(d.known.State), terminal.Printable(d.known.State))) +
			sinceText(d.known.Time)
	} else if !d.removed.IsZero() {
		state = "gone" + sinceText(d.removed)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "Container:\t%s\n", terminal.Printable(d.String()))
	if d.known != nil && d.known.Name != "" {
		_, _ = fmt.Fprintf(w, "Name:\t%s\n", line.Word(d.known.Name))
	}
	if d.known != nil && d.known.Image != "" {
		_, _ = fmt.Fprintf(w, "Image:\t%s\n", line.Word(d.known.Image))
	}
	_, _ = fmt.Fprintf(w, "State:\t%s\n", state)
	for i := range d.links {
		title := ""
		if i == 0 {
			title = "Interfaces:"
		}
		link := &d.links[i]
		linkState := terminal.Paint(nil, colour, terminal.StyleOf(string(link.State)), terminal.Printable(string(link.State)))
		_, _ = fmt.Fprintf(w, "%s\t%s %s (%s on the host)\n", title, line.Word(cmp.Or(link.Name, "-")), linkState, line.Word(link.Veth))
	}
	if err := w.Flush(); err != nil || len(d.events) == 0 {
		return err
	}
	text, lines := []byte{'\n'}, &line.Formatter{Colour: colour, Today: time.Now()}
	for _, e := range d.events {
		text = append(lines.Append(text, e), '\n')
	}
	_, err := out.Write(text)
	return err
}

// sinceText formats when a state began, and how long ago.
func sinceText(began time.Time) string {
	return fmt.Sprintf(" since %s (%v)", began.Local().Format(time.DateTime), time.Since(began).Round(time.Second))
}

// writeJSON writes the details as one JSON object.
func (d *containerDetails) writeJSON(out io.Writer) error {
	details := struct {
		Pool       string            `json:"pool"`
		ID         string            `json:"id"`
		State      string            `json:"state"`
		Time       time.Time         `json:"time,omitzero"`
		Removed    time.Time         `json:"removed,omitzero"`
		CtName     string            `json:"ct_name,omitempty"`
		Image      string            `json:"image,omitempty"`
		Interfaces []any             `json:"interfaces"`
		Events     []json.RawMessage `json:"events"`
	}{Pool: d.pool, ID: d.id, Removed: d.removed.UTC(), Interfaces: []any{}, Events: []json.RawMessage{}}
	if d.known != nil {
		details.State, details.Time = d.known.State, d.known.Time.UTC()
		details.CtName, details.Image = d.known.Name, d.known.Image
	}
	for i := range d.links {
		details.Interfaces = append(details.Interfaces, linkJSON(&d.links[i]))
	}
	for _, e := range d.events {
		details.Events = append(details.Events, e.AppendJSON(nil, d.epoch))
	}
	return json.NewEncoder(out).Encode(details)
}
