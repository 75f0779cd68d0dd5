package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/cursorfile"
	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/watch"
	"github.com/osctl/eventd/hub"
)

const watchLong = `Show events of the whole fleet, or of some hosts, as they come, until the command is
interrupted. The lines are those of osctl-eventctl monitor, with the host in front. A flag
that is given several times matches any of its values; all flags must match.

Events of one host come in the order in which they happened. If a host was cut off, its
events come late, with the time at which they happened.

Whatever the filters, the command reports missing events on stderr ("node1: lost 12
events: ..."): those that a host could not forward, and those that the stream dropped
before they were read. With --json, stdout has an object of type _gap for them, too. The
command also reports when a host goes silent (two heartbeats are overdue), and when it is
back.

While NATS is away the command waits, and then continues after the last message that it
read. With --cursor-file it continues where the last run stopped; if there is no such file
yet, or an empty one, it begins at --since. The file is written after the events before
it were printed, so a crash may repeat some events and skips none. The manual page
osctl-eventctl(1) says which files a user may use.

Exit status: 0 if it ended as asked, also when interrupted; 1 on an error; 4 if events are
missing.`

const watchExample = `  osctl-eventd-nats watch --server tls://nats.example.org --user fleet-watch --credentials fleet/fleet-watch
  osctl-eventd-nats watch node1 node2 --type ct_netif --since 1h
  osctl-eventd-nats watch --json --cursor-file /var/lib/audit/cursor --no-follow`

// exitLost is the status of watch where events are missing.
const exitLost = 4

// watchFlags are the flags of watch, as given.
type watchFlags struct {
	serverFlags
	eventflags.Filter
	since, cursorFile string
	noFollow, json    bool
}

func watchCommand(stdout, stderr *terminal.Output) *cobra.Command {
	var flags watchFlags
	cmd := &cobra.Command{
		Use: "watch [HOST]...", Short: "Show the events of the fleet as they come",
		Long: watchLong, Example: watchExample,
		RunE: func(cmd *cobra.Command, hosts []string) error {
			p, config, err := flags.printer(stdout, stderr, hosts, time.Now())
			if err != nil {
				return err
			}
			defer terminal.WatchHangup(stdout.File)()
			if err := watch.Run(cmd.Context(), config, p.take); err != nil {
				return err
			}
			if err := p.flush(); err != nil {
				return err
			}
			if p.lost {
				return statusError(exitLost)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flags.add(f)
	flags.Add(f)
	f.StringVar(&flags.since, "since", "", "begin at `MOMENT`: "+eventflags.TimeForms)
	f.StringVar(&flags.cursorFile, "cursor-file", "", "continue where the last run stopped, which `FILE` stores")
	f.BoolVar(&flags.noFollow, "no-follow", false, "end with the newest event; without --since begin with the oldest")
	f.BoolVar(&flags.json, "json", false, "print one JSON object a line")
	return cmd
}

// skew is by how much the clocks of hosts and servers may differ without --since leaving out events.
const skew = time.Minute

// printer checks the flags, and returns what prints, and what is read.
func (f *watchFlags) printer(
	stdout, stderr *terminal.Output, hosts []string, now time.Time,
) (*printer, watch.Config, error) {
	c := watch.Config{Stream: f.stream, Hosts: hosts, Finite: f.noFollow}
	p := &printer{out: bufio.NewWriterSize(stdout, 64<<10), err: stderr}
	if err := errors.Join(f.check(), f.Check()); err != nil {
		return nil, c, err
	}
	for _, host := range hosts {
		if err := fleet.CheckHost(host); err != nil {
			return nil, c, err
		}
	}
	c.Access = f.Access
	var err error
	if p.filter, err = f.Hub(); err != nil {
		return nil, c, err
	}
	if !f.json {
		p.lines = &line.Formatter{Colour: stdout.Colourful(), Today: now.Local()}
	}
	if c.Since, err = f.begin(now); err != nil {
		return nil, c, err
	}
	if c.Since.After(watch.Oldest) {
		p.since, c.Since = c.Since, c.Since.Add(-skew)
	}
	if f.cursorFile == "" {
		return p, c, nil
	}
	if stdout.Closed() {
		return nil, c, errors.New("standard output is closed: the cursor would move past events that nobody got;" +
			" write to /dev/null to skip them")
	}
	c.After, err = p.open(f.cursorFile, f.stream)
	return p, c, err
}

// begin returns the time to begin at, zero for new events.
func (f *watchFlags) begin(now time.Time) (time.Time, error) {
	if f.since == "" && f.noFollow {
		return watch.Oldest, nil
	}
	if f.since == "" {
		return time.Time{}, nil
	}
	since, err := eventflags.ParseMoment(f.since, now)
	switch {
	case err == nil && since.Cursor == hub.CursorOldest:
		return watch.Oldest, nil
	case err != nil || since.Cursor != "": // a cursor is one of a single host
		return time.Time{}, fmt.Errorf("--since %q: expected %s", f.since, eventflags.TimeForms)
	}
	return since.Time, nil
}

// printer prints what is read.
type printer struct {
	out    *bufio.Writer
	err    *terminal.Output
	lines  *line.Formatter // nil for JSON
	filter hub.Filter
	since  time.Time        // events before it are passed over
	file   *cursorfile.File // nil for none
	lost   bool             // events are missing
	buf    []byte
	after  fleet.Position // of the last message that was printed; zero for none
	behind int            // messages since the last flush
}

// flushAfter is how many messages may be read before what they have is written, and the cursor is kept.
const flushAfter = 1000

// open opens the cursor file, and returns where it says to go on.
func (p *printer) open(path, stream string) (fleet.Position, error) {
	var err error
	p.file, err = cursorfile.Open(path, func(text string) error {
		_, err := fleet.ParsePosition(text)
		return err
	})
	if err != nil || p.file.Cursor() == "" {
		return fleet.Position{}, err
	}
	after, err := fleet.ParsePosition(p.file.Cursor())
	if err == nil && after.Stream != stream {
		err = fmt.Errorf("cursor file %s: it is of the stream %s, not %s", path, after.Stream, stream)
	}
	p.since = time.Time{}
	return after, err
}

// take prints an update.
func (p *printer) take(u watch.Update) error {
	for i := range u.Lines {
		if err := p.line(u.Host, &u.Lines[i]); err != nil {
			return err
		}
	}
	if u.Notice != "" {
		p.lost = p.lost || u.Lost
		if err := p.say(u.Host, u.Notice); err != nil {
			return err
		}
	}
	if u.After != (fleet.Position{}) {
		p.after = u.After
	}
	if p.behind++; u.More && p.behind < flushAfter {
		return nil
	}
	return p.flush()
}

// flush writes what was printed, and then keeps the cursor after it.
func (p *printer) flush() error {
	p.behind = 0
	if err := p.out.Flush(); err != nil || p.file == nil || p.after == (fleet.Position{}) {
		return err
	}
	return p.file.Save(p.after.String())
}

// line prints a line of a host.
func (p *printer) line(host string, l *fleet.Line) error {
	switch {
	case l.Again, l.Record != nil && l.Record.Type != fleet.TypeGap:
		return nil
	case l.Unknown != nil:
		return p.say(host, "an event cannot be shown: "+l.Unknown.Error())
	case l.Record != nil:
		return p.gap(host, l.Record)
	case !p.filter.Match(l.Event) || l.Event.Time.Before(p.since):
		return nil
	}
	if p.lines != nil {
		p.buf = p.lines.AppendFrom(p.buf[:0], hostName(host), l.Event)
		return p.write()
	}
	return p.writeJSON(host, l.Event.AppendJSON(nil, l.Epoch))
}

// gap says that events are missing.
func (p *printer) gap(host string, r *fleet.Record) error {
	if r.Time.Before(p.since) {
		return nil
	}
	p.lost = true
	if err := p.say(host, watch.Explain(r)); err != nil || p.lines != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{
		"type": r.Type, "reason": printable(r.Reason), "detail": printable(r.Detail), "time": r.Time,
		"from": r.From, "cursor": r.Cursor, "lost": r.Lost,
	})
	if err != nil {
		return err
	}
	return p.writeJSON(host, text)
}

// writeJSON writes an object with the host in front of its keys.
func (p *printer) writeJSON(host string, object []byte) error {
	name, err := json.Marshal(hostName(host))
	if err != nil {
		return err
	}
	p.buf = append(append(append(append(p.buf[:0], `{"host":`...), name...), ','), object[1:]...)
	return p.write()
}

// write writes what is in buf as a line.
func (p *printer) write() error {
	p.buf = append(p.buf, '\n')
	if len(p.buf) > p.out.Available() { // or the buffer would cut it
		if err := p.out.Flush(); err != nil {
			return err
		}
	}
	_, err := p.out.Write(p.buf)
	return err
}

// say says something about a host, or about the stream, after what was printed before.
func (p *printer) say(host, text string) error {
	about := "osctl-eventd-nats: "
	if host != "" {
		about += hostName(host) + ": "
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.err, about+printable(text))
	return err
}

// maxText bounds what is shown of a text from the stream, in bytes.
const maxText = 400

// printable makes a text from the stream safe for a terminal, and short.
func printable(text string) string { return hub.PlainText([]byte(text), maxText) }

// hostName is how the name of a host is shown: one word, whatever its subject is.
func hostName(host string) string { return line.Word(printable(host)) }
