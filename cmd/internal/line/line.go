// Package line formats an event as a line for people. [hub.Event.AppendJSON] formats it as JSON. All
// programs that print events use these two.
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

// Formatter formats events as lines for people. The lines are safe for a terminal.
type Formatter struct {
	Colour bool
	Today  time.Time // events of another day show their date

	host int // width of the host column in cells, see AppendFrom
}

// AppendFrom appends an event of a host as one line, with the host in front. The host must be
// printable. Its column is as wide as the widest host so far, up to 32 cells.
func (l *Formatter) AppendFrom(b []byte, host string, e *hub.Event) []byte {
	const widest = 32
	l.host = max(l.host, min(uniseg.StringWidth(host), widest))
	b = terminal.Paint(b, l.Colour, terminal.StyleBold, pad(host, l.host))
	return l.Append(append(b, "  "...), e)
}

// Append appends an event as one line: time, type, action, container, and other options.
// Columns line up unless their content is unusually long.
func (l *Formatter) Append(b []byte, e *hub.Event) []byte {
	at, layout := e.Time.Local(), "15:04:05.000"
	if y, d := at.Year(), at.YearDay(); y != l.Today.Year() || d != l.Today.YearDay() {
		layout = "2006-01-02 15:04:05.000"
	}
	b = terminal.Paint(b, l.Colour, terminal.StyleFaint, at.Format(layout))
	what := e.Type
	if e.Action != "" {
		what += " " + Word(e.Action)
	}
	b = append(b, "  "...)
	b = terminal.Paint(b, l.Colour, terminal.StyleOf(e.Action), pad(what, 18))
	b = append(b, ' ')
	b = terminal.Paint(b, l.Colour, terminal.StyleBold, pad(Container(Word(e.Pool), Word(nameOf(e))), 14))
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
		b = terminal.Paint(b, l.Colour, terminal.StyleFaint, "from "+Word(e.Source))
	}
	return b
}

// pad pads text to a width in terminal cells.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-uniseg.StringWidth(text), 0))
}

// Container returns POOL:ID, or the part of it that is not empty, or "-".
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

// Name returns the name of a container for people: its name if it has one, otherwise its id. An id
// that is a hash is shortened.
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

// nameOf returns the name for people of an event's container.
func nameOf(e *hub.Event) string {
	if e.Type == hub.TypeInfo {
		return Name(e.ID, e.Options.Text("name"))
	}
	return Name(e.ID, e.Options.Text(hub.OptionName))
}

// describe returns the main part of an interface event in words, and the options that need not be
// shown after it.
func describe(e *hub.Event) (string, map[string]bool) {
	// A pool or an id that is not a string names no container, and is shown like other options.
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

// Word formats a name as one word. It quotes a name with blanks, which could pass for other parts
// of the line.
func Word(name string) string {
	if strings.ContainsAny(name, " \t\"") {
		return strconv.Quote(name)
	}
	return terminal.Printable(name)
}

// optionText formats a value: an unambiguous string as it is, anything else as JSON. So a string
// that looks like a number is quoted.
func optionText(v hub.Value) string {
	if text := v.Text(); v.Kind() == hub.KindString && text != "" && !strings.ContainsAny(text, " \t\"'") &&
		terminal.Printable(text) == text && !json.Valid([]byte(text)) {
		return text
	}
	return string(terminal.Escape(v.AppendJSON(nil)))
}

// Field returns an option of an event as text, "" if it is missing.
func Field(e *hub.Event, name string) string {
	v, ok := e.Options.Get(name)
	if !ok {
		return ""
	}
	return Plain(v)
}

// Plain returns a string as it is, and any other value as JSON.
func Plain(v hub.Value) string {
	if v.Kind() == hub.KindString {
		return v.Text()
	}
	return string(v.AppendJSON(nil))
}
