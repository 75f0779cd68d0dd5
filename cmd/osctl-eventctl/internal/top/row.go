package top

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/screen"
	"github.com/osctl/eventd/hub"
)

// Row is an interface with its container, or a container without interfaces.
type Row struct {
	Pool, ID, State string    // of the container; "" if unknown
	CtName          string    // name of the container; "" if it has none
	Name, Veth      string    // of the interface, inside and on the host
	Link            string    // state of the interface; "" without one
	Since           time.Time // when the state of the interface, or else of the container, began; zero if unknown
	Trouble         int       // severity of the trouble; 0 for none
}

// key identifies the row while its state changes.
func (r *Row) key() string { return r.Pool + "\x00" + r.ID + "\x00" + r.Veth }

// owns reports whether an event belongs to the row's container, or else to its veth.
func (r *Row) owns(e *Event) bool {
	if r.Pool != "" || r.ID != "" {
		return e.Pool == r.Pool && e.ID == r.ID
	}
	return e.Veth == r.Veth
}

// filter returns the filter for the events of the row's container, or else of its veth.
func (r *Row) filter() (hub.Filter, error) {
	if r.Pool == "" && r.ID == "" {
		return hub.Filter{}.With("veth", r.Veth)
	}
	filter, err := hub.Filter{}.With("pool", r.Pool)
	if err == nil {
		filter, err = filter.With("id", r.ID)
	}
	return filter, err
}

// title returns the container of the row, or else its veth, as text for a terminal.
func (r *Row) title() string {
	if r.Pool == "" && r.ID == "" {
		return terminal.Printable(r.Veth)
	}
	return terminal.Printable(r.container())
}

// container returns the container by its name, or by its id.
func (r *Row) container() string { return line.Container(r.Pool, line.Name(r.ID, r.CtName)) }

// passes reports whether the row contains all words of text, which is in lower case.
func (r *Row) passes(text string) bool {
	if text == "" {
		return true
	}
	all := strings.ToLower(strings.Join([]string{line.Container(r.Pool, r.ID), r.CtName, r.State, r.Name, r.Link, r.Veth}, " "))
	for word := range strings.FieldsSeq(text) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

// command returns the shell command that shows the row's events.
func (r *Row) command() string {
	const monitor = "osctl-eventctl monitor --since oldest "
	switch {
	case r.Pool == "" && r.ID == "":
		return monitor + "--veth=" + quote(r.Veth)
	case r.Pool == "" || strings.HasPrefix(r.Pool, "-") || strings.Contains(r.Pool, ":") || r.ID == "" || strings.Contains(r.ID, "/"):
		return monitor + "--pool=" + quote(r.Pool) + " --id=" + quote(r.ID)
	}
	return monitor + quote(r.Pool+":"+r.ID)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_:@%+=.,/-]+$`)

// quote quotes s as one word for a shell. Unprintable characters become escapes, so that the word may
// match nothing, but never executes anything.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(terminal.Printable(s), "'", `'\''`) + "'"
}

// Severities of trouble, the highest first.
const (
	broken  = 3 // an unusable interface of a container, or a failed container
	idle    = 2 // an unusable interface without a known container, or a container that changes its state
	unknown = 1 // an interface without a known container
)

// joinRows joins interfaces with their containers, and leaves out stopped containers.
func joinRows(links []hub.Interface, containers []hub.Container) []Row {
	type name struct{ pool, id string }
	states := make(map[name]*hub.Container, len(containers))
	for i := range containers {
		c := &containers[i]
		states[name{c.Pool, c.ID}] = c
	}
	rows := make([]Row, 0, len(links)+len(containers))
	linked := make(map[name]bool, len(links))
	for i := range links {
		l := &links[i]
		row := Row{Pool: l.Pool, ID: l.ID, Name: l.Name, Veth: l.Veth, Link: string(l.State), Since: l.Since, CtName: l.ContainerName}
		if c := states[name{l.Pool, l.ID}]; c != nil {
			row.State = c.State
		}
		linked[name{l.Pool, l.ID}] = true
		rows = append(rows, row)
	}
	for i := range containers {
		c := &containers[i]
		if !linked[name{c.Pool, c.ID}] && c.State != "stopped" && c.State != "" {
			rows = append(rows, Row{Pool: c.Pool, ID: c.ID, State: c.State, Since: c.Time, CtName: c.Name})
		}
	}
	for i := range rows {
		rows[i].Trouble = rows[i].severity()
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Trouble, a.Trouble), screen.CompareNatural(a.Pool, b.Pool), screen.CompareNatural(a.ID, b.ID), screen.CompareNatural(a.Veth, b.Veth))
	})
	return rows
}

func (r *Row) severity() int {
	owned := r.Pool != "" || r.ID != ""
	usable := r.Link == string(hub.LinkUp) || r.Link == ""
	style := terminal.StyleOf(r.State)
	switch {
	case owned && !usable, style == terminal.StyleBad && r.State != "stopped":
		return broken
	case !usable, style == terminal.StyleChanging:
		return idle
	case !owned:
		return unknown
	}
	return 0
}
