package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/hub"
)

// templateEvent is an event as the template of --format sees it. All texts are safe for a terminal,
// so that a line stays one line.
type templateEvent struct {
	Type, Action, Pool, ID, Name, Veth, Source, Time, Cursor string

	Seq  uint64
	Opts map[string]string // a missing option is empty

	event *hub.Event // for {{json .}}
	epoch string
}

// newTemplateEvent returns an event for a template.
func newTemplateEvent(e *hub.Event, epoch string) *templateEvent {
	t := &templateEvent{
		Type: terminal.Printable(e.Type), Action: terminal.Printable(e.Action), Source: terminal.Printable(e.Source),
		Pool: terminal.Printable(line.Field(e, "pool")), ID: terminal.Printable(line.Field(e, "id")),
		Name: terminal.Printable(line.Field(e, "name")), Veth: terminal.Printable(line.Field(e, "veth")),
		Seq: e.Seq, Time: e.Time.UTC().Format(eventTime), Cursor: hub.FormatCursor(epoch, e.Seq),
		Opts: map[string]string{}, event: e, epoch: epoch,
	}
	for _, o := range e.Options {
		t.Opts[o.Name] = terminal.Printable(line.Plain(o.Value))
	}
	return t
}

// parseFormat parses the template of --format, and executes it once to check it.
func parseFormat(text string) (*template.Template, error) {
	parsed, err := template.New("--format").Option("missingkey=zero").Funcs(template.FuncMap{
		"json": func(e *templateEvent) string { return string(terminal.Escape(e.event.AppendJSON(nil, e.epoch))) },
	}).Parse(text)
	if err == nil {
		err = parsed.Execute(io.Discard, newTemplateEvent(&hub.Event{}, ""))
	}
	if err != nil {
		return nil, fmt.Errorf("%s; expected a template like '{{.Time}} {{.Type}} {{.Pool}}:{{.ID}} {{.Opts.ifindex}}', see osctl-eventctl monitor --help",
			strings.ReplaceAll(err.Error(), fmt.Sprintf("%T", &templateEvent{}), "an event"))
	}
	return parsed, nil
}

// appendFormat appends an event, formatted by a template.
func appendFormat(b []byte, format *template.Template, e *hub.Event, epoch string) ([]byte, error) {
	w := bytes.NewBuffer(b)
	err := format.Execute(w, newTemplateEvent(e, epoch))
	return w.Bytes(), err
}

// eventTime is the layout of an event's time for programs.
const eventTime = "2006-01-02T15:04:05.000000Z"
