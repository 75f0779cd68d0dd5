package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/osctl/eventd/cmd/internal/eventjson"
	"github.com/osctl/eventd/dbusapi/client"
)

// maxLine is the longest line of a batch, in bytes: more than any event takes.
const maxLine = 1 << 20

// batchRun is one run of report --batch.
type batchRun struct {
	client *client.Client
	bus    string // as given
	in     *bufio.Reader
	out    *bufio.Writer
	eager  bool // reading may wait: what is read is sent before
	batch  client.Batch
	lines  []int // of the batch's events
	line   int   // that was read last
	done   int   // events that were reported
	upTo   int   // the last line of these

	// skip is told of a line that is left out because it is invalid; nil if such a line ends it all.
	skip    func(line int, err error)
	skipped int

	doubtful []int // lines of events of which no answer tells whether they were reported
}

// reportBatch reports the events of a file, "-" for standard input. With skipInvalid it leaves out,
// and counts, invalid lines and refused events: then the exit status is exitLost.
func (a *app) reportBatch(ctx context.Context, path string, skipInvalid bool) error {
	file := os.Stdin
	if path != "-" {
		var err error
		if file, err = os.Open(path); err != nil { //nolint:gosec // the user names it
			return err
		}
		defer func() { _ = file.Close() }()
	}
	caller, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer caller.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	b := &batchRun{client: caller, bus: a.bus, eager: !info.Mode().IsRegular(), in: bufio.NewReaderSize(file, maxLine), out: bufio.NewWriter(a.out)}
	if skipInvalid {
		b.skip = func(line int, err error) { a.say("line %d is left out: %v", line, err) }
	}
	err = b.run(ctx)
	switch {
	case err == nil && b.skipped > 0:
		return &exitError{exitLost, b.progress()}
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, b.progress()}
	}
	return &exitError{exitFailure, fmt.Sprintf("%s; %s", client.Explain(err, a.bus), b.progress())}
}

// progress says what was reported.
func (b *batchRun) progress() string {
	known := ", and none after"
	if len(b.doubtful) > 0 {
		known = fmt.Sprintf("; whether lines %d to %d were is not known", b.doubtful[0], b.doubtful[len(b.doubtful)-1])
	}
	if b.skipped > 0 {
		known += fmt.Sprintf("; invalid lines that were left out: %d", b.skipped)
	}
	if b.done == 0 {
		return "nothing was reported" + strings.TrimPrefix(known, ", and none after")
	}
	return fmt.Sprintf("%s reported, up to line %d%s", eventCount(b.done), b.upTo, known)
}

func (b *batchRun) run(ctx context.Context) error {
	for {
		if whole, _ := b.in.Peek(b.in.Buffered()); b.eager && bytes.IndexByte(whole, '\n') < 0 {
			if err := b.send(ctx); err != nil {
				return err
			}
		}
		text, err := b.in.ReadSlice('\n')
		b.line++
		if text = bytes.TrimSpace(text); len(text) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			if err := b.add(ctx, text); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return b.send(ctx)
		case errors.Is(err, bufio.ErrBufferFull):
			err := fmt.Errorf("it is longer than %d bytes", maxLine)
			if b.skip == nil {
				return fmt.Errorf("line %d: %w", b.line, err)
			}
			b.leaveOut(b.line, err)
			b.endLine()
		case err != nil:
			return fmt.Errorf("line %d: %w", b.line, err)
		}
	}
}

// endLine reads on to the end of a line that is too long.
func (b *batchRun) endLine() {
	for err := bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull); {
		_, err = b.in.ReadSlice('\n') // another error comes again
	}
}

// leaveOut counts a line that is invalid.
func (b *batchRun) leaveOut(line int, err error) {
	b.skipped++
	b.skip(line, err)
}

// add adds the event of a line to the batch, and sends the batch first if it is full.
func (b *batchRun) add(ctx context.Context, text []byte) error {
	report, err := eventjson.ParseReport(text)
	if err == nil {
		err = b.batch.Add(report)
	}
	if errors.Is(err, client.ErrBatchFull) {
		if err := b.send(ctx); err != nil {
			return err
		}
		err = b.batch.Add(report)
	}
	switch {
	case err != nil && b.skip != nil:
		b.leaveOut(b.line, err)
		return nil
	case err != nil:
		return fmt.Errorf("line %d: %w", b.line, err)
	}
	b.lines = append(b.lines, b.line)
	return nil
}

// send reports the batch and prints the numbers.
func (b *batchRun) send(ctx context.Context) error {
	lines := b.lines
	b.lines = nil
	return b.sendEvents(ctx, b.batch.Take(), lines)
}

// sendEvents reports events. An event that is refused and left out takes none with it: those
// before it go in one call, those after it in the next.
func (b *batchRun) sendEvents(ctx context.Context, events []client.Report, lines []int) error {
	for len(events) > 0 {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		first, err := b.client.ReportBatch(bounded, events)
		cancel()
		invalid, ok := errors.AsType[*client.InvalidEventError](err)
		if ok && b.skip != nil && invalid.Index < len(events) {
			bad := invalid.Index
			if err := b.sendEvents(ctx, events[:bad], lines[:bad]); err != nil {
				return err
			}
			b.leaveOut(lines[bad], invalid.Err)
			events, lines = events[bad+1:], lines[bad+1:]
			continue
		}
		if err != nil {
			return b.refused(err, lines)
		}
		return b.reported(first, lines)
	}
	return nil
}

// reported prints the numbers of events that were reported.
func (b *batchRun) reported(first uint64, lines []int) error {
	for i := range lines {
		_, _ = fmt.Fprintln(b.out, first+uint64(i)) // Flush returns an error
	}
	b.done += len(lines)
	b.upTo = lines[len(lines)-1]
	return b.out.Flush()
}

// noReply is the error of a call whose receiver went away: it may have taken the call.
const noReply = "org.freedesktop.DBus.Error.NoReply"

// refused says which line is to blame for a batch that failed.
func (b *batchRun) refused(err error, lines []int) error {
	var invalid *client.InvalidEventError
	if errors.As(err, &invalid) && invalid.Index < len(lines) {
		return fmt.Errorf("line %d: %v", lines[invalid.Index], invalid.Err) //nolint:errorlint // Explain would leave out the line
	}
	if _, ok := errors.AsType[*client.Error](err); ok && !client.HasName(err, noReply) {
		return fmt.Errorf("lines %d to %d: %s", lines[0], lines[len(lines)-1], client.Explain(err, b.bus))
	}
	b.doubtful = lines
	return err
}
