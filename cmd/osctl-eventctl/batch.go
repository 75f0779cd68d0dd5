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

// maxLine is the maximum length of a line in bytes, more than any event needs.
const maxLine = 1 << 20

// batchRun is one run of report --batch.
type batchRun struct {
	client *client.Client
	bus    string // as given
	in     *bufio.Reader
	out    *bufio.Writer

	streaming bool // the input is no file: send events before a read that may block
	batch     client.Batch
	lines     []int // line numbers of the events in batch
	line      int   // number of the last line read
	done      int   // number of reported events
	lastDone  int   // line of the last reported event

	onSkip  func(line int, err error) // called for each skipped line; if nil, an invalid line ends the run
	skipped int

	unanswered []int // lines of events that may or may not have been reported
}

// reportBatch reports the events in a file, "-" for standard input. If skipInvalid is set, it skips
// invalid lines and refused events; the exit status is exitLost then.
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
	b := &batchRun{client: caller, bus: a.bus, streaming: !info.Mode().IsRegular(), in: bufio.NewReaderSize(file, maxLine), out: bufio.NewWriter(a.out)}
	if skipInvalid {
		b.onSkip = func(line int, err error) { a.warn("line %d skipped: %v", line, err) }
	}
	err = b.run(ctx)
	switch {
	case err == nil && b.skipped > 0:
		return &exitError{exitLost, b.formatProgress()}
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, b.formatProgress()}
	}
	return &exitError{exitFailure, fmt.Sprintf("%s; %s", client.Explain(err, a.bus), b.formatProgress())}
}

// formatProgress says which events were reported.
func (b *batchRun) formatProgress() string {
	var parts []string
	if b.done > 0 {
		parts = append(parts, fmt.Sprintf("%s reported, the last one from line %d", formatCount(b.done), b.lastDone))
	}
	if len(b.unanswered) > 0 {
		parts = append(parts, formatLines(b.unanswered)+" may have been reported")
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing was reported")
	}
	switch {
	case b.skipped == 1:
		parts = append(parts, "1 invalid line skipped")
	case b.skipped > 1:
		parts = append(parts, fmt.Sprintf("%d invalid lines skipped", b.skipped))
	}
	return strings.Join(parts, "; ")
}

// formatLines names lines of the input.
func formatLines(lines []int) string {
	first, last := lines[0], lines[len(lines)-1]
	if first == last {
		return fmt.Sprintf("line %d", first)
	}
	return fmt.Sprintf("lines %d to %d", first, last)
}

func (b *batchRun) run(ctx context.Context) error {
	for {
		if whole, _ := b.in.Peek(b.in.Buffered()); b.streaming && bytes.IndexByte(whole, '\n') < 0 {
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
			err := fmt.Errorf("longer than %d bytes", maxLine)
			if b.onSkip == nil {
				return fmt.Errorf("line %d: %w", b.line, err)
			}
			b.skipLine(b.line, err)
			b.discardLine()
		case err != nil:
			return fmt.Errorf("line %d: %w", b.line, err)
		}
	}
}

// discardLine discards the rest of a line that is too long.
func (b *batchRun) discardLine() {
	for err := bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull); {
		_, err = b.in.ReadSlice('\n') // the next read returns any other error again
	}
}

// skipLine counts and reports a skipped line.
func (b *batchRun) skipLine(line int, err error) {
	b.skipped++
	b.onSkip(line, err)
}

// add adds the event of a line to the batch. It sends a full batch first.
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
	case err != nil && b.onSkip != nil:
		b.skipLine(b.line, err)
		return nil
	case err != nil:
		return fmt.Errorf("line %d: %w", b.line, err)
	}
	b.lines = append(b.lines, b.line)
	return nil
}

// send reports the batch, and prints the numbers.
func (b *batchRun) send(ctx context.Context) error {
	lines := b.lines
	b.lines = nil
	return b.sendEvents(ctx, b.batch.Take(), lines)
}

// sendEvents reports events. If one is refused and skipped, it sends the events before it in one
// call, and the events after it in the next.
func (b *batchRun) sendEvents(ctx context.Context, events []client.Report, lines []int) error {
	for len(events) > 0 {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		first, err := b.client.ReportBatch(bounded, events)
		cancel()
		invalid, ok := errors.AsType[*client.InvalidEventError](err)
		if ok && b.onSkip != nil && invalid.Index < len(events) {
			bad := invalid.Index
			if err := b.sendEvents(ctx, events[:bad], lines[:bad]); err != nil {
				return err
			}
			b.skipLine(lines[bad], invalid.Err)
			events, lines = events[bad+1:], lines[bad+1:]
			continue
		}
		if err != nil {
			return b.explainFailure(err, lines)
		}
		return b.printNumbers(first, lines)
	}
	return nil
}

// printNumbers prints the numbers of reported events.
func (b *batchRun) printNumbers(first uint64, lines []int) error {
	for i := range lines {
		_, _ = fmt.Fprintln(b.out, first+uint64(i)) // Flush returns an error
	}
	b.done += len(lines)
	b.lastDone = lines[len(lines)-1]
	return b.out.Flush()
}

// noReply is the error if the receiver of a call went away. It may have handled the call.
const noReply = "org.freedesktop.DBus.Error.NoReply"

// explainFailure names the line that made a batch fail.
func (b *batchRun) explainFailure(err error, lines []int) error {
	var invalid *client.InvalidEventError
	if errors.As(err, &invalid) && invalid.Index < len(lines) {
		return fmt.Errorf("line %d: %v", lines[invalid.Index], invalid.Err) //nolint:errorlint // Explain would omit the line
	}
	if _, ok := errors.AsType[*client.Error](err); ok && !client.HasName(err, noReply) {
		return fmt.Errorf("%s: %s", formatLines(lines), client.Explain(err, b.bus))
	}
	b.unanswered = lines
	return err
}
