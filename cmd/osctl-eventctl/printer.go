package main

import (
	"bufio"
	"context"
	"text/template"
	"time"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/hub"
)

// printer is a sink that prints events, one a line.
type printer struct {
	out   *bufio.Writer
	lines *line.Formatter // nil for JSON
	buf   []byte

	format *template.Template // replaces both if set
}

func newPrinter(out *terminal.Output, asJSON bool, now time.Time) *printer {
	p := &printer{out: bufio.NewWriterSize(out, 64<<10)}
	if !asJSON {
		p.lines = &line.Formatter{Colour: out.Colourful(), Today: now.Local()}
	}
	return p
}

// event prints an event. The line may stay in the buffer until flush.
func (p *printer) event(_ context.Context, e *hub.Event, epoch string) (handled bool, err error) {
	p.buf = p.buf[:0]
	switch {
	case p.format != nil:
		if p.buf, err = appendFormat(p.buf, p.format, e, epoch); err != nil {
			return false, err
		}
	case p.lines != nil:
		p.buf = p.lines.Append(p.buf, e)
	default:
		p.buf = e.AppendJSON(p.buf, epoch)
	}
	p.buf = append(p.buf, '\n')
	if len(p.buf) > p.out.Available() { // otherwise the buffer would split the line
		if err := p.out.Flush(); err != nil {
			return false, err
		}
	}
	_, err = p.out.Write(p.buf)
	return false, err
}

func (p *printer) flush(context.Context) error { return p.out.Flush() }
