package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
)

// Kinds of entries, as MESSAGE_ID. The file systemd/osctl-eventd.catalog explains them.
const (
	messageEvent = "651ab231c7dc4ba49d22ae703ef3957e"
	messageLost  = "1d2804b53a034b419c2a7cb6f8d6f1cd"
)

const (
	// journalBatch is how many events are read from the hub at once.
	journalBatch = 64
	// journalGrace is how long the end waits for a journald that takes nothing, and for the
	// position to be written.
	journalGrace = time.Second
	// firstJournalRetry and lastJournalRetry bound the pause, which doubles, before a
	// journald that is not there is tried again.
	firstJournalRetry = 50 * time.Millisecond
	lastJournalRetry  = 2 * time.Second
)

// journal writes each event to systemd's journal as well. It follows the hub like any
// subscriber: a journald that is slow or away makes it late, and what it then finds
// gone from the history it says so of, in an entry that tells how many are not there.
// After a crash it goes on where it was, and may write a few entries a second time.
type journal struct {
	log      *slog.Logger
	sub      *hub.Subscription
	conn     *journalConn
	position *journalPosition
	missing  *hub.GoneError // what was not in the journal at the last end is gone
}

// newJournal begins where the last process was that did not end in order, else with the
// next event of the hub. The position is kept in dir, unless that is "".
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
			log.Warn("after a crash events may be missing in the journal", errorAttr(err))
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

// subscribe starts at a cursor, or with the oldest event where what follows it is gone.
func (j *journal) subscribe(events *hub.Hub, cursor string) (*hub.Subscription, error) {
	sub, err := events.Subscribe(hub.Filter{}, cursor)
	if gone, ok := errors.AsType[*hub.GoneError](err); ok {
		j.missing = gone
		return events.Subscribe(hub.Filter{}, hub.CursorOldest)
	}
	if invalid, ok := errors.AsType[*hub.InvalidCursorError](err); ok {
		j.log.Warn("the position in the journal is damaged: events may be missing there", errorAttr(invalid))
		return events.Subscribe(hub.Filter{}, "")
	}
	return sub, err
}

// Run writes events until ctx is done, and then what has been committed by then, for at
// most journalGrace.
func (j *journal) Run(ctx context.Context) error {
	defer j.conn.close()
	defer j.sub.Close()
	defer j.conn.until(ctx, journalGrace)()
	err := j.follow(ctx)
	j.position.close(err == nil)
	if err != nil {
		// No reason to fail: the next start goes on from here.
		j.log.Warn("stopped without journald: the last events are not in the journal", slog.String("after", j.sub.Cursor()), errorAttr(err))
	}
	return nil
}

// follow is Run without the end. It returns an error if not all was written.
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
			return nil //nolint:nilerr // it was all: ctx is done, or the hub is closed
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

// write writes an entry. While journald is not there it tries again; the error is for
// when ctx is done.
func (j *journal) write(ctx context.Context, fields []journalField) error {
	pause := firstJournalRetry
	for {
		err := j.conn.send(fields)
		if err == nil {
			return nil
		}
		if pause == firstJournalRetry {
			j.log.Warn("journald takes no entries, trying again", errorAttr(err))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause = min(2*pause, lastJournalRetry)
	}
}

// eventEntry is what the journal says of an event.
func eventEntry(e *hub.Event, epoch string) []journalField {
	fields := []journalField{
		{"MESSAGE", printable(journalMessage(e))},
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

// journalMessage is an event in a line: type, verb, container, and the names of an
// interface.
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

// printable escapes what would do something on the terminal of a log viewer or begin a line
// there: names come from containers. The other fields have them as they are.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		quoted := strconv.Quote(text)
		return quoted[1 : len(quoted)-1]
	}
	return text
}

// lostEntry says how many events are not in the journal.
func lostEntry(lapped *hub.LappedError) []journalField {
	lost := strconv.FormatUint(lapped.Lost(), 10)
	return []journalField{
		{"MESSAGE", "the journal was too slow: " + lost + " events are not in it"},
		{"MESSAGE_ID", messageLost},
		{"PRIORITY", "4"},
		{"SYSLOG_IDENTIFIER", "osctl-eventd"},
		{"OSCTL_LOST", lost},
		{"OSCTL_FIRST_SEQ", strconv.FormatUint(lapped.First, 10)},
		{"OSCTL_LAST_SEQ", strconv.FormatUint(lapped.Last, 10)},
	}
}

// goneEntry says that events are not in the journal, nobody knows how many.
func goneEntry(gone *hub.GoneError) []journalField {
	return []journalField{
		{"MESSAGE", "the service ended before all events were in the journal, and they are gone: events are not in it"},
		{"MESSAGE_ID", messageLost},
		{"PRIORITY", "4"},
		{"SYSLOG_IDENTIFIER", "osctl-eventd"},
		{"OSCTL_CURSOR", gone.Cursor},
	}
}
