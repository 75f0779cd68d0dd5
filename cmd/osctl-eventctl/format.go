package main

import (
	"bytes"
	"fmt"
	"io"
	"text/template"

	"github.com/osctl/eventd/hub"
)

// templateEvent is what the template of --format sees of an event. All texts are safe for a
// terminal, so that a line stays one line, whatever a container or a reporter put into them.
type templateEvent struct {
	Type, Action, Pool, ID, Name, Veth, Source, Time, Cursor string

	Seq  uint64
	Opts map[string]string // an option that is not there is empty

	event *hub.Event // for {{json .}}
	epoch string
}

// newTemplateEvent returns what a template sees of an event.
func newTemplateEvent(e *hub.Event, epoch string) *templateEvent {
	t := &templateEvent{
		Type: printable(e.Type), Action: printable(e.Action), Source: printable(e.Source),
		Pool: printable(field(e, "pool")), ID: printable(field(e, "id")),
		Name: printable(field(e, "name")), Veth: printable(field(e, "veth")),
		Seq: e.Seq, Time: e.Time.UTC().Format(eventTime), Cursor: hub.FormatCursor(epoch, e.Seq),
		Opts: map[string]string{}, event: e, epoch: epoch,
	}
	for _, o := range e.Options {
		t.Opts[o.Name] = printable(plain(o.Value))
	}
	return t
}

// parseFormat parses the template of --format, and tries it.
func parseFormat(text string) (*template.Template, error) {
	parsed, err := template.New("--format").Option("missingkey=zero").Funcs(template.FuncMap{
		"json": func(e *templateEvent) string { return string(escape(e.event.AppendJSON(nil, e.epoch))) },
	}).Parse(text)
	if err == nil {
		err = parsed.Execute(io.Discard, newTemplateEvent(&hub.Event{}, ""))
	}
	if err != nil {
		return nil, fmt.Errorf("%w; expected a template like '{{.Time}} {{.Type}} {{.Pool}}:{{.ID}} {{.Opts.ifindex}}'", err)
	}
	return parsed, nil
}

// appendFormat appends an event as the template shows it.
func appendFormat(b []byte, format *template.Template, e *hub.Event, epoch string) ([]byte, error) {
	w := bytes.NewBuffer(b)
	err := format.Execute(w, newTemplateEvent(e, epoch))
	return w.Bytes(), err
}

// eventTime is how the time of an event is written for programs.
const eventTime = "2006-01-02T15:04:05.000000Z"

// field returns one option of an event as text, "" if it is not there.
func field(e *hub.Event, name string) string {
	v, ok := e.Options.Get(name)
	if !ok {
		return ""
	}
	return plain(v)
}

// plain returns a text as it is, and any other value as JSON.
func plain(v hub.Value) string {
	if v.Kind() == hub.KindString {
		return v.Text()
	}
	return string(v.AppendJSON(nil))
}
