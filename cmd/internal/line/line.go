// Package line shows an event as a line for a person. As JSON an event shows itself, by
// [hub.Event.AppendJSON]. All programs that print events stand on the two.
package line

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/hub"
)

// Liner makes lines of events for a person. They are safe for a terminal, whatever the events hold.
type Liner struct {
	Colour bool
	Today  time.Time // events of another day show their date

	host int // cells of the column of hosts, see AppendFrom
}

// AppendFrom appends an event of a host as one line, with the host in front. The host is to be
// printable. Its column is as wide as the widest host so far.
func (l *Liner) AppendFrom(b []byte, host string, e *hub.Event) []byte {
	const widest = 32
	l.host = max(l.host, min(uniseg.StringWidth(host), widest))
	b = terminal.Paint(b, l.Colour, terminal.InkBold, padded(host, l.host))
	return l.Append(append(b, "  "...), e)
}

// Append appends an event as one line: time, type, action, container, and other options.
// Columns line up as long as their content is of usual length.
func (l *Liner) Append(b []byte, e *hub.Event) []byte {
	at, layout := e.Time.Local(), "15:04:05.000"
	if y, d := at.Year(), at.YearDay(); y != l.Today.Year() || d != l.Today.YearDay() {
		layout = "2006-01-02 15:04:05.000"
	}
	b = terminal.Paint(b, l.Colour, terminal.InkFaint, at.Format(layout))
	what := e.Type
	if e.Action != "" {
		what += " " + Word(e.Action)
	}
	b = append(b, "  "...)
	b = terminal.Paint(b, l.Colour, terminal.InkOf(e.Action), padded(what, 18))
	b = append(b, ' ')
	b = terminal.Paint(b, l.Colour, terminal.InkBold, padded(Container(Word(e.Pool), Word(nameOf(e))), 14))
	detail, shown := describe(e)
	if detail != "" {
		b = append(append(b, "  "...), detail...)
	}
	for _, o := range e.Options {
		if !shown[o.Name] {
			b = append(append(append(b, "  "...), o.Name...), '=')
			b = append(b, optionText(o.Value)...)
		}
	}
	if e.Source != hub.SourceNetlink {
		b = append(b, "  "...)
		b = terminal.Paint(b, l.Colour, terminal.InkFaint, "from "+Word(e.Source))
	}
	return b
}

// padded makes text at least so many cells of a terminal wide.
func padded(text string, width int) string {
	return text + strings.Repeat(" ", max(width-uniseg.StringWidth(text), 0))
}

// Container returns POOL:ID, or what there is of it.
func Container(pool, id string) string {
	switch {
	case pool != "" && id != "":
		return pool + ":" + id
	case id != "":
		return id
	case pool != "":
		return pool
	}
	return "-"
}

// Name returns the text for a container that people see: its name if it has one, else its id. An id
// that is a hash is cut to its beginning.
func Name(id, name string) string {
	const digits, shown = 64, 12
	switch {
	case name != "":
		return name
	case len(id) == digits && strings.Trim(id, "0123456789abcdef") == "":
		return id[:shown]
	}
	return id
}

// nameOf returns what people call the container of an event.
func nameOf(e *hub.Event) string {
	if e.Type == hub.TypeInfo {
		return Name(e.ID, e.Options.Text("name"))
	}
	return Name(e.ID, e.Options.Text(hub.OptionName))
}

// describe says the main thing of an interface event in words, and which options
// need not be shown any more.
func describe(e *hub.Event) (string, map[string]bool) {
	// A pool or an id that is no text names no container, and is shown as any option.
	shown := map[string]bool{"pool": Field(e, "pool") == e.Pool, "id": Field(e, "id") == e.ID}
	shown[hub.OptionName] = e.ID != "" && Field(e, hub.OptionName) == e.Options.Text(hub.OptionName)
	shown["name"] = e.Type == hub.TypeInfo
	switch e.Type {
	case hub.TypeNetif:
	case hub.TypeState, hub.TypeManagement:
		shown["state"] = true
		return "", shown
	default:
		shown["action"] = e.Action != ""
		return "", shown
	}
	for _, name := range []string{"action", "name", "new_name", "veth", "old_veth", "ifindex", "resync"} {
		shown[name] = true
	}
	text := func(option string) string { return Word(e.Options.Text(option)) }
	name, veth := text("name"), text("veth")
	if renamed := text("new_name"); renamed != "" && renamed != name {
		name += " -> " + renamed
	}
	if old := text("old_veth"); old != "" {
		veth = old + " -> " + veth
	}
	var parts []string
	if name != "" {
		parts = append(parts, name)
	}
	if veth != "" {
		parts = append(parts, "("+veth+" on the host)")
	}
	if resync, _ := e.Options.Get("resync"); resync.Bool() {
		parts = append(parts, "[found by comparing]")
	}
	return strings.Join(parts, " "), shown
}

// Word shows a name as one word: what has blanks in it could pass for other parts of a line.
func Word(name string) string {
	if strings.ContainsAny(name, " \t\"") {
		return strconv.Quote(name)
	}
	return terminal.Printable(name)
}

// optionText shows a value: text as it is where that is unambiguous, else as JSON. A text
// that reads like a number, or like another value in JSON, is quoted.
func optionText(v hub.Value) string {
	if text := v.Text(); v.Kind() == hub.KindString && text != "" && !strings.ContainsAny(text, " \t\"'") &&
		terminal.Printable(text) == text && !json.Valid([]byte(text)) {
		return text
	}
	return string(terminal.Escape(v.AppendJSON(nil)))
}

// Field returns one option of an event as text, "" if it is not there.
func Field(e *hub.Event, name string) string {
	v, ok := e.Options.Get(name)
	if !ok {
		return ""
	}
	return Plain(v)
}

// Plain returns a text as it is, and any other value as JSON.
func Plain(v hub.Value) string {
	if v.Kind() == hub.KindString {
		return v.Text()
	}
	return string(v.AppendJSON(nil))
}
