package main

import (
	"bufio"
	"time"

	"github.com/osctl/eventd/hub"
)

// printer writes events, one a line.
type printer struct {
	out   *bufio.Writer
	lines *liner // nil for JSON
	buf   []byte
}

func newPrinter(out *output, asJSON bool, now time.Time) *printer {
	p := &printer{out: bufio.NewWriterSize(out, 64<<10)}
	if !asJSON {
		p.lines = &liner{colour: colourful(out), today: now.Local()}
	}
	return p
}

// event writes one event, whose epoch is given. It may stay in the buffer until flush.
func (p *printer) event(e *hub.Event, epoch string) error {
	p.buf = p.buf[:0]
	if p.lines != nil {
		p.buf = p.lines.append(p.buf, e)
	} else {
		p.buf = e.AppendJSON(p.buf, epoch)
	}
	p.buf = append(p.buf, '\n')
	if len(p.buf) > p.out.Available() { // or the buffer would cut it
		if err := p.out.Flush(); err != nil {
			return err
		}
	}
	_, err := p.out.Write(p.buf)
	return err
}

func (p *printer) flush() error { return p.out.Flush() }
