package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/osctl/eventd/hub"
)

// appendLine appends an event as one line for a person: when, what, whose, and the
// rest of its options. Columns line up as long as their content is of usual length.
func appendLine(b []byte, e *hub.Event) []byte {
	b = e.Time.Local().AppendFormat(b, "15:04:05.000")
	what := e.Type
	if e.Action != "" {
		what += " " + e.Action
	}
	b = fmt.Appendf(b, "  %-18s %-14s", printable(what), printable(container(e)))
	detail, shown := describe(e)
	if detail != "" {
		b = append(append(b, "  "...), printable(detail)...)
	}
	for _, o := range e.Options {
		if !shown[o.Name] {
			b = fmt.Appendf(b, "  %s=%s", o.Name, optionText(o.Value))
		}
	}
	if e.Source != hub.SourceNetlink {
		b = append(append(b, "  from "...), printable(e.Source)...)
	}
	return b
}

// container returns POOL:ID, or what there is of it.
func container(e *hub.Event) string {
	switch {
	case e.Pool != "" && e.ID != "":
		return e.Pool + ":" + e.ID
	case e.ID != "":
		return e.ID
	case e.Pool != "":
		return e.Pool
	}
	return "-"
}

// describe says the main thing of an interface event in words, and which options
// need not be shown any more.
func describe(e *hub.Event) (string, map[string]bool) {
	shown := map[string]bool{"pool": true, "id": true}
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
	name, veth := e.Options.Text("name"), e.Options.Text("veth")
	if renamed := e.Options.Text("new_name"); renamed != "" && renamed != name {
		name += " -> " + renamed
	}
	if old := e.Options.Text("old_veth"); old != "" {
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

// optionText shows a value: text as it is where that is unambiguous, else as JSON.
func optionText(v hub.Value) string {
	if text := v.Text(); v.Kind() == hub.KindString && text != "" && !strings.ContainsAny(text, " \t\"'") && printable(text) == text {
		return text
	}
	return string(v.AppendJSON(nil))
}

// printable makes text safe for a terminal: what would move its cursor or change its
// state is shown as an escape instead.
func printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			quoted := strconv.Quote(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}
