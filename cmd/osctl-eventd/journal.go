package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/hub"
)

// The MESSAGE_ID of each kind of entry. systemd/osctl-eventd.catalog explains them to users.
const (
	messageEvent = "651ab231c7dc4ba49d22ae703ef3957e"
	messageLost  = "1d2804b53a034b419c2a7cb6f8d6f1cd"
)

const (
	// journalBatch is the maximum number of events read from the hub at once.
	journalBatch = 64
	// journalGrace limits how long a stop waits for a blocked journald, and for the position
	// to be written.
	journalGrace = time.Second
	// firstJournalRetry and lastJournalRetry bound the exponential back-off while journald
	// is not running.
	firstJournalRetry = 50 * time.Millisecond
	lastJournalRetry  = 2 * time.Second
)

// journal copies each event to systemd's journal. It is an ordinary subscriber of the hub, so a
// slow or missing journald only delays it. If events leave the history before they are written,
// an entry says how many are missing. After a crash the journal resumes where it was, and may
// write a few entries twice.
type journal struct {
	log      *slog.Logger
	sub      *hub.Subscription
	conn     *journalConn
	position *journalPosition
	missing  *hub.GoneError // set if events that the last process did not write are gone
}

// newJournal resumes at the position that a crashed process left in dir; otherwise it begins
// with the next event of the hub. If dir is "", no position is kept.
func newJournal(ctx context.Context, log *slog.Logger, events *hub.Hub, dir, socket string) (*journal, error) {
	conn, err := openJournal(socket)
	if err != nil {
		return nil, err
	}
	j := &journal{log: log, conn: conn}
	cursor := ""
	if dir != "" {
		open := func() (positionFile, error) { return openPositionFile(dir) }
		if j.position, cursor, err = openJournalPosition(ctx, log, open); err != nil {
			log.Warn("after a crash the journal may lack events", errorAttr(err))
		}
	}
	if j.sub, err = j.subscribe(events, cursor); err != nil {
		j.position.close(false)
		conn.close()
		return nil, err
	}
	j.position.save(j.sub.Cursor())
	return j, nil
}

// subscribe starts at cursor, or at the oldest event if the events after cursor are gone.
func (j *journal) subscribe(events *hub.Hub, cursor string) (*hub.Subscription, error) {
	sub, err := events.Subscribe(hub.Filter{}, cursor)
	if gone, ok := errors.AsType[*hub.GoneError](err); ok {
		j.missing = gone
		return events.Subscribe(hub.Filter{}, hub.CursorOldest)
	}
	if invalid, ok := errors.AsType[*hub.InvalidCursorError](err); ok {
		j.log.Warn("the journal position is damaged: the journal may lack events", errorAttr(invalid))
		return events.Subscribe(hub.Filter{}, "")
	}
	return sub, err
}

// Run writes events until ctx is done. Then it writes the events committed so far, for at most
// journalGrace.
func (j *journal) Run(ctx context.Context) error {
	defer j.conn.close()
	defer j.sub.Close()
	defer j.conn.limitSends(ctx, journalGrace)()
	err := j.follow(ctx)
	j.position.close(err == nil)
	if err != nil {
		// This is no failure, because the next start resumes here.
		j.log.Warn("stopped without journald: the journal lacks the last events", slog.String("after", j.sub.Cursor()), errorAttr(err))
	}
	return nil
}

// follow writes events until ctx is done. It returns an error if some were not written.
func (j *journal) follow(ctx context.Context) error {
	if j.missing != nil {
		if err := j.write(ctx, goneEntry(j.missing)); err != nil {
			return err
		}
	}
	events := make([]*hub.Event, journalBatch)
	for {
		n, err := j.sub.Next(ctx, events)
		if lapped, ok := errors.AsType[*hub.LappedError](err); ok {
			if err := j.write(ctx, lostEntry(lapped)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return nil //nolint:nilerr // all is written: ctx is done, or the hub is closed
		}
		epoch, _ := j.sub.Position()
		for _, e := range events[:n] {
			if err := j.write(ctx, eventEntry(e, epoch)); err != nil {
				return err
			}
		}
		j.position.save(hub.FormatCursor(epoch, events[n-1].Seq))
		clear(events)
	}
}

// write writes an entry, and retries while journald is not running. It fails only after ctx is
// done.
func (j *journal) write(ctx context.Context, fields []journalField) error {
	pause := firstJournalRetry
	for {
		err := j.conn.send(fields)
		if err == nil {
			return nil
		}
		if pause == firstJournalRetry {
			j.log.Warn("journald accepts no entries, retrying", errorAttr(err))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause = min(2*pause, lastJournalRetry)
	}
}

// eventEntry returns the journal entry of an event.
func eventEntry(e *hub.Event, epoch string) []journalField {
	fields := []journalField{
		{"MESSAGE", terminal.Printable(journalMessage(e))}, // log viewers print it to a terminal
		{"MESSAGE_ID", messageEvent},
		{"PRIORITY", "6"},
		{"SYSLOG_IDENTIFIER", "osctl-eventd"},
		{"OSCTL_TYPE", e.Type},
		{"OSCTL_SOURCE", e.Source},
		{"OSCTL_SEQ", strconv.FormatUint(e.Seq, 10)},
		{"OSCTL_CURSOR", hub.FormatCursor(epoch, e.Seq)},
		{"OSCTL_TIME_USEC", strconv.FormatUint(hub.Micros(e.Time), 10)},
		{"OSCTL_OPTS", string(e.Options.AppendJSON(nil))},
	}
	optional := []journalField{{"OSCTL_ACTION", e.Action}, {"OSCTL_POOL", e.Pool}, {"OSCTL_ID", e.ID}}
	for _, name := range []string{"name", "new_name", "veth", "old_veth"} {
		optional = append(optional, journalField{"OSCTL_" + strings.ToUpper(name), e.Options.Text(name)})
	}
	for _, f := range optional {
		if f.value != "" {
			fields = append(fields, f)
		}
	}
	return fields
}

// journalMessage formats an event as a line: type, action, container, interface names.
func journalMessage(e *hub.Event) string {
	words := []string{e.Type}
	for _, word := range []string{e.Action, strings.Trim(e.Pool+":"+e.ID, ":")} {
		if word != "" {
			words = append(words, word)
		}
	}
	for _, name := range []string{"name", "new_name", "veth", "old_veth"} {
		if text := e.Options.Text(name); text != "" {
			words = append(words, name+"="+text)
		}
	}
	return strings.Join(words, " ")
}

// lostEntry returns the entry that says how many events the journal lacks.
func lostEntry(lapped *hub.LappedError) []journalField {
	lost := strconv.FormatUint(lapped.Lost(), 10)
	return []journalField{
		{"MESSAGE", "journald was too slow: the journal lacks " + lost + " events"},
		{"MESSAGE_ID", messageLost},
		{"PRIORITY", "4"},
		{"SYSLOG_IDENTIFIER", "osctl-eventd"},
		{"OSCTL_LOST", lost},
		{"OSCTL_FIRST_SEQ", strconv.FormatUint(lapped.First, 10)},
		{"OSCTL_LAST_SEQ", strconv.FormatUint(lapped.Last, 10)},
	}
}

// goneEntry returns the entry that says that the journal lacks events, an unknown number.
func goneEntry(gone *hub.GoneError) []journalField {
	return []journalField{
		{"MESSAGE", "the journal lacks events: the service stopped before it had written them, and they have left the history"},
		{"MESSAGE_ID", messageLost},
		{"PRIORITY", "4"},
		{"SYSLOG_IDENTIFIER", "osctl-eventd"},
		{"OSCTL_CURSOR", gone.Cursor},
	}
}
