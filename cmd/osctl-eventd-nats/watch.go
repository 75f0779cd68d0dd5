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
interrupted. The lines are those of osctl-eventctl monitor, with the host in front. If a
flag is given several times, any of its values may match; all flags must match.

Events of one host come in the order in which they happened. If a host was cut off, its
events come late, with the time at which they happened.

Whatever the filter, the command reports missing events on stderr ("node1: lost 12
events: ..."): those that a host could not forward, and those that the stream dropped
before the command read them. With --json it also prints an object of type _gap for
them. It also reports when a host goes silent (two heartbeats are overdue), and when it
is back.

While NATS is unreachable the command waits, and then continues after the last message
that it read. With --cursor-file it continues where the last run stopped. If the file is
missing or empty, the command begins at --since. It writes the file after it has printed
the events, so a crash may repeat some events, but skips none. osctl-eventctl(1) says
which files a user may use.

Exit status: 0 if it ended as asked or was interrupted; 1 on an error; 4 if events are
missing.`

const watchExample = `  osctl-eventd-nats watch --server tls://nats.example.org --user fleet-watch --credentials fleet/fleet-watch
  osctl-eventd-nats watch node1 node2 --type ct_netif --since 1h
  osctl-eventd-nats watch --json --cursor-file /var/lib/audit/cursor --no-follow`

// exitLost is the exit status of watch if events are missing.
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
			p, config, err := flags.newPrinter(stdout, stderr, hosts, time.Now())
			if err != nil {
				return err
			}
			defer terminal.WatchHangup(stdout.File)()
			if err := watch.Run(cmd.Context(), config, p.handleUpdate); err != nil {
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
	f.StringVar(&flags.cursorFile, "cursor-file", "", "keep the position in `FILE`, and continue where the last run stopped")
	f.BoolVar(&flags.noFollow, "no-follow", false, "end with the newest event; without --since begin with the oldest")
	f.BoolVar(&flags.json, "json", false, "print one JSON object a line")
	return cmd
}

// maxSkew is how far a host's clock may be ahead of the server's with --since.
const maxSkew = time.Minute

// newPrinter checks the flags, and returns a printer and the configuration of its reader.
func (f *watchFlags) newPrinter(
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
	if c.Since, err = f.parseSince(now); err != nil {
		return nil, c, err
	}
	if c.Since.After(watch.Oldest) {
		p.since, c.Since = c.Since, c.Since.Add(-maxSkew)
	}
	if f.cursorFile == "" {
		return p, c, nil
	}
	if stdout.Closed() {
		return nil, c, errors.New("standard output is closed, so the cursor would skip events;" +
			" to skip them on purpose, write to /dev/null")
	}
	c.After, err = p.openCursorFile(f.cursorFile, f.stream)
	return p, c, err
}

// parseSince returns the time to begin at, zero to begin with new events.
func (f *watchFlags) parseSince(now time.Time) (time.Time, error) {
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
	case err != nil || since.Cursor != "": // a cursor belongs to a single host
		return time.Time{}, fmt.Errorf("--since %q: expected %s", f.since, eventflags.TimeForms)
	}
	return since.Time, nil
}

// printer prints the updates of a watch.
type printer struct {
	out       *bufio.Writer
	err       *terminal.Output
	lines     *line.Formatter // nil for JSON
	filter    hub.Filter
	since     time.Time        // skip events before this time
	file      *cursorfile.File // nil for none
	lost      bool             // events are missing
	buf       []byte
	after     fleet.Position // position after the last printed message; zero for none
	unflushed int            // number of messages since the last flush
}

// flushAfter is the maximum number of messages between two flushes.
const flushAfter = 1000

// openCursorFile opens the cursor file, and returns the position in it.
func (p *printer) openCursorFile(path, stream string) (fleet.Position, error) {
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
		err = fmt.Errorf("cursor file %s: it belongs to the stream %s, not %s", path, after.Stream, stream)
	}
	p.since = time.Time{}
	return after, err
}

// handleUpdate prints an update.
func (p *printer) handleUpdate(u watch.Update) error {
	for i := range u.Lines {
		if err := p.printLine(u.Host, &u.Lines[i]); err != nil {
			return err
		}
	}
	if u.Notice != "" {
		p.lost = p.lost || u.Lost
		if err := p.printNotice(u.Host, u.Notice); err != nil {
			return err
		}
	}
	if u.After != (fleet.Position{}) {
		p.after = u.After
	}
	if p.unflushed++; u.More && p.unflushed < flushAfter {
		return nil
	}
	return p.flush()
}

// flush writes the buffered lines, and then saves the position.
func (p *printer) flush() error {
	p.unflushed = 0
	if err := p.out.Flush(); err != nil || p.file == nil || p.after == (fleet.Position{}) {
		return err
	}
	return p.file.Save(p.after.String())
}

// printLine prints a line of a host.
func (p *printer) printLine(host string, l *fleet.Line) error {
	switch {
	case l.Again, l.Record != nil && l.Record.Type != fleet.TypeGap:
		return nil
	case l.Unknown != nil:
		return p.printNotice(host, "cannot show "+l.Unknown.Error())
	case l.Record != nil:
		return p.printGap(host, l.Record)
	case !p.filter.Match(l.Event) || l.Event.Time.Before(p.since):
		return nil
	}
	if p.lines != nil {
		p.buf = p.lines.AppendFrom(p.buf[:0], hostName(host), l.Event)
		return p.write()
	}
	return p.writeJSON(host, l.Event.AppendJSON(nil, l.Epoch))
}

// printGap reports missing events.
func (p *printer) printGap(host string, r *fleet.Record) error {
	if r.Time.Before(p.since) {
		return nil
	}
	p.lost = true
	if err := p.printNotice(host, watch.Explain(r)); err != nil || p.lines != nil {
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

// writeJSON writes an object, and adds the host as its first key.
func (p *printer) writeJSON(host string, object []byte) error {
	name, err := json.Marshal(hostName(host))
	if err != nil {
		return err
	}
	p.buf = append(append(append(append(p.buf[:0], `{"host":`...), name...), ','), object[1:]...)
	return p.write()
}

// write writes buf as a line.
func (p *printer) write() error {
	p.buf = append(p.buf, '\n')
	if len(p.buf) > p.out.Available() { // otherwise the buffer would split the line
		if err := p.out.Flush(); err != nil {
			return err
		}
	}
	_, err := p.out.Write(p.buf)
	return err
}

// printNotice prints a notice about a host or the stream on stderr, after the lines before it.
func (p *printer) printNotice(host, text string) error {
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

// maxText limits a text from the stream, in bytes.
const maxText = 400

// printable makes a text from the stream short and safe for a terminal.
func printable(text string) string { return hub.PlainText([]byte(text), maxText) }

// hostName returns the name of a host as one printable word.
func hostName(host string) string { return line.Word(printable(host)) }
