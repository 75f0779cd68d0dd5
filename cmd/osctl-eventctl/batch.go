package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
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

	doubtful []int // lines of events of which no answer tells whether they were reported
}

// reportBatch reports the events of a file, "-" for standard input.
func (a *app) reportBatch(ctx context.Context, path string) error {
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
	err = b.run(ctx)
	switch {
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
			return fmt.Errorf("line %d is longer than %d bytes", b.line, maxLine)
		case err != nil:
			return fmt.Errorf("line %d: %w", b.line, err)
		}
	}
}

// add adds the event of a line to the batch, and sends the batch first if it is full.
func (b *batchRun) add(ctx context.Context, text []byte) error {
	report, err := parseReport(text)
	if err == nil {
		err = b.batch.Add(report)
	}
	if errors.Is(err, client.ErrBatchFull) {
		if err := b.send(ctx); err != nil {
			return err
		}
		err = b.batch.Add(report)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", b.line, err)
	}
	b.lines = append(b.lines, b.line)
	return nil
}

// send reports the batch and prints the numbers.
func (b *batchRun) send(ctx context.Context) error {
	if b.batch.Len() == 0 {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	first, err := b.batch.Send(bounded, b.client)
	if err != nil {
		return b.refused(err)
	}
	for i := range b.lines {
		_, _ = fmt.Fprintln(b.out, first+uint64(i)) // Flush tells of an error
	}
	b.done += len(b.lines)
	b.upTo = b.lines[len(b.lines)-1]
	b.lines = b.lines[:0]
	return b.out.Flush()
}

// noReply is the error of a call whose receiver went away: it may have taken the call.
const noReply = "org.freedesktop.DBus.Error.NoReply"

// refused says which line is to blame for a batch that failed.
func (b *batchRun) refused(err error) error {
	var invalid *client.InvalidEventError
	if errors.As(err, &invalid) && invalid.Index < len(b.lines) {
		return fmt.Errorf("line %d: %v", b.lines[invalid.Index], invalid.Err) //nolint:errorlint // Explain would leave out the line
	}
	if _, ok := errors.AsType[*client.Error](err); ok && !client.HasName(err, noReply) {
		return fmt.Errorf("lines %d to %d: %s", b.lines[0], b.lines[len(b.lines)-1], client.Explain(err, b.bus))
	}
	b.doubtful = b.lines
	return err
}

// batchForm says how a line of a batch is to be.
const batchForm = `expected {"type": "TYPE", "opts": {...}}`

// parseReport reads one line of a batch.
func parseReport(text []byte) (report client.Report, err error) {
	v, err := decodeJSON(text)
	if err != nil {
		return report, fmt.Errorf("%w, "+batchForm, err)
	}
	line, ok := v.(map[string]any)
	if !ok {
		return report, fmt.Errorf("got a JSON %s, "+batchForm, kindOf(v))
	}
	typ, ok := line["type"]
	if !ok {
		return report, errors.New("there is no type, " + batchForm)
	}
	if report.Type, ok = typ.(string); !ok {
		return report, fmt.Errorf("type is a JSON %s, "+batchForm, kindOf(typ))
	}
	options, ok := line["opts"].(map[string]any)
	if given := line["opts"]; !ok && given != nil {
		return report, fmt.Errorf("opts is a JSON %s, "+batchForm, kindOf(given))
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		value, err := optionValue(options[name])
		if err != nil {
			return report, fmt.Errorf("option %q: %w", name, err)
		}
		report.Options = append(report.Options, hub.Option{Name: name, Value: value})
	}
	return report, nil
}

// kindOf names what a decoded value is in JSON.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}
