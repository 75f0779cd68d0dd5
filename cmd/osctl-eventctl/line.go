package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"github.com/osctl/eventd/hub"
)

// liner makes lines of events for a person.
type liner struct {
	colour bool
	today  time.Time // events of another day show their date
}

// append appends an event as one line: time, type, action, container, and other options.
// Columns line up as long as their content is of usual length.
func (l *liner) append(b []byte, e *hub.Event) []byte {
	at, layout := e.Time.Local(), "15:04:05.000"
	if y, d := at.Year(), at.YearDay(); y != l.today.Year() || d != l.today.YearDay() {
		layout = "2006-01-02 15:04:05.000"
	}
	b = paint(b, l.colour, inkFaint, at.Format(layout))
	what := e.Type
	if e.Action != "" {
		what += " " + word(e.Action)
	}
	b = append(b, "  "...)
	b = paint(b, l.colour, inkOf(e.Action), padded(what, 18))
	b = append(b, ' ')
	b = paint(b, l.colour, inkBold, padded(container(word(e.Pool), word(e.ID)), 14))
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
		b = paint(b, l.colour, inkFaint, "from "+word(e.Source))
	}
	return b
}

// padded makes text at least so many cells of a terminal wide.
func padded(text string, width int) string {
	return text + strings.Repeat(" ", max(width-uniseg.StringWidth(text), 0))
}

// container returns POOL:ID, or what there is of it.
func container(pool, id string) string {
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

// describe says the main thing of an interface event in words, and which options
// need not be shown any more.
func describe(e *hub.Event) (string, map[string]bool) {
	// A pool or an id that is no text names no container, and is shown as any option.
	shown := map[string]bool{"pool": field(e, "pool") == e.Pool, "id": field(e, "id") == e.ID}
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
	text := func(option string) string { return word(e.Options.Text(option)) }
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

// word shows a name as one word: what has blanks in it could pass for other parts of a line.
func word(name string) string {
	if strings.ContainsAny(name, " \t\"") {
		return strconv.Quote(name)
	}
	return printable(name)
}

// optionText shows a value: text as it is where that is unambiguous, else as JSON. A text
// that reads like a number, or like another value in JSON, is quoted.
func optionText(v hub.Value) string {
	if text := v.Text(); v.Kind() == hub.KindString && text != "" && !strings.ContainsAny(text, " \t\"'") &&
		printable(text) == text && !json.Valid([]byte(text)) {
		return text
	}
	return string(escape(v.AppendJSON(nil)))
}
