package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

const showLong = `Show one container: its state, its interfaces, and its last events. --pool and
--id in place of the argument name any container, also one with a slash in its
id.

` + nameHelp + `

Exit status: 0 on success; 1 on an error, also if the container is unknown.`

// defaultShown is how many events show prints without --lines.
const defaultShown = 10

func (a *app) show() *cobra.Command {
	var (
		t      target
		asJSON bool
		count  = countFlag(defaultShown)
	)
	cmd := &cobra.Command{
		Use:   "show POOL:ID",
		Short: "Show what is known of one container",
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
					return fmt.Errorf("%w; osctl-eventctl list --veth NAME says whose a veth is", err)
				}
			}
			if t, err = a.resolveContainer(cmd.Context(), t); err != nil {
				return err
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

// resolveContainer resolves an argument that is to be a container.
func (a *app) resolveContainer(ctx context.Context, t target) (target, error) {
	names, _, err := a.askNames(ctx, []target{t})
	if err != nil {
		return t, err
	}
	resolved, err := t.resolve(names)
	if err == nil && resolved.name != "" {
		err = fmt.Errorf("%q: expected a container as POOL:ID, like tank:101; "+slashHint, t)
	}
	return resolved, err
}

// containerDetails is what is known of one container.
type containerDetails struct {
	target
	known *hub.Container // its state and its name, nil if neither was reported
	links []hub.Interface
	lastEvents
}

// lastEvents is a sink that keeps events.
type lastEvents struct {
	events []*hub.Event
	epoch  string
}

func (l *lastEvents) event(_ context.Context, e *hub.Event, epoch string) (handled bool, err error) {
	l.events, l.epoch = append(l.events, e), epoch
	return false, nil
}

func (l *lastEvents) flush(context.Context) error { return nil }

// showContainer asks what is known of a container, and prints it.
func (a *app) showContainer(ctx context.Context, t target, count int, asJSON bool) error {
	known := containerDetails{target: t}
	s := &stream{app: a, sink: &known.lastEvents, selection: selection{Filter: eventflags.Filter{Pools: []string{t.pool}, IDs: []string{t.id}}}}
	s.finite, s.tail, s.count, s.cursor = true, true, count, hub.CursorOldest
	var err error
	if s.filter, err = s.selection.filter(); err != nil {
		return err
	}
	err = a.call(ctx, func(ctx context.Context, client *client.Client) error {
		states, _, err := client.Containers(ctx, s.filter)
		if err != nil {
			return err
		}
		if len(states) > 0 {
			known.known = &states[0]
		}
		known.links, _, err = client.Interfaces(ctx, s.filter)
		return err
	})
	if err == nil {
		err = s.result(s.follow(ctx))
	}
	switch {
	case err != nil:
		return err
	case known.known == nil && len(known.links) == 0 && len(known.events) == 0:
		return fmt.Errorf("nothing is known of %s; osctl-eventctl list and osctl-eventctl containers --all show what is", t)
	case asJSON:
		return known.writeJSON(a.out)
	}
	return known.write(a.out)
}

// write writes what is known for a person.
func (d *containerDetails) write(out *terminal.Output) error {
	colour := out.Colourful()
	state := "not known"
	if d.known != nil && d.known.State != "" {
		since := d.known.Time.Local()
		state = string(terminal.Paint(nil, colour, terminal.InkOf(d.known.State), terminal.Printable(d.known.State))) +
			fmt.Sprintf(" since %s (%v)", since.Format(time.DateTime), time.Since(since).Round(time.Second))
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
		linkState := terminal.Paint(nil, colour, terminal.InkOf(string(link.State)), terminal.Printable(string(link.State)))
		_, _ = fmt.Fprintf(w, "%s\t%s %s (%s on the host)\n", title, line.Word(cmp.Or(link.Name, "-")), linkState, line.Word(link.Veth))
	}
	if err := w.Flush(); err != nil || len(d.events) == 0 {
		return err
	}
	text, lines := []byte{'\n'}, &line.Liner{Colour: colour, Today: time.Now()}
	for _, e := range d.events {
		text = append(lines.Append(text, e), '\n')
	}
	_, err := out.Write(text)
	return err
}

// writeJSON writes what is known as one JSON object.
func (d *containerDetails) writeJSON(out io.Writer) error {
	details := struct {
		Pool       string            `json:"pool"`
		ID         string            `json:"id"`
		State      string            `json:"state"`
		Time       time.Time         `json:"time,omitzero"`
		CtName     string            `json:"ct_name,omitempty"`
		Image      string            `json:"image,omitempty"`
		Interfaces []any             `json:"interfaces"`
		Events     []json.RawMessage `json:"events"`
	}{Pool: d.pool, ID: d.id, Interfaces: []any{}, Events: []json.RawMessage{}}
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
