package top

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/cmd/osctl-eventctl/internal/live"
	"github.com/osctl/eventd/hub"
)

// Row is an interface with the container that it belongs to, or a container without interfaces.
type Row struct {
	Pool, ID, State string // of the container; "" where that is not known
	CtName          string // what people call the container; "" if it has no name
	Name, Veth      string
	Link            string    // state of the interface; "" if there is none
	Since           time.Time // when the interface, or else the container, came into its state; zero if not known
	Trouble         int       // how much the row deserves attention; 0 if it is well
}

// key is what stays the same while the row changes.
func (r *Row) key() string { return r.Pool + "\x00" + r.ID + "\x00" + r.Veth }

// same reports whether an event is of the row's container, or else of its veth.
func (r *Row) same(e *Event) bool {
	if r.Pool != "" || r.ID != "" {
		return e.Pool == r.Pool && e.ID == r.ID
	}
	return e.Veth == r.Veth
}

// filter is for the events of the row's container, or else of its veth.
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

// title is the container of the row, or else its veth, as text for a terminal.
func (r *Row) title() string {
	if r.Pool == "" && r.ID == "" {
		return terminal.Printable(r.Veth)
	}
	return terminal.Printable(r.container())
}

// container is the container as people call it.
func (r *Row) container() string { return line.Container(r.Pool, line.Name(r.ID, r.CtName)) }

// passes reports whether the row has all words of a text, which is in lower case.
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

// command is what shows the row's events at a shell.
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

// quote makes one word for a shell. What a terminal would not show is shown as an escape, and so the
// word is another one then; no command is better than one that does something.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(terminal.Printable(s), "'", `'\''`) + "'"
}

// Trouble, from what deserves attention most.
const (
	broken  = 3 // an interface of a container that cannot be used, or a container that failed
	idle    = 2 // an interface of nobody known that cannot be used, or a container in change
	unknown = 1 // an interface of nobody known
)

// join joins interfaces with their containers. Stopped containers are left out.
func join(links []hub.Interface, containers []hub.Container) []Row {
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
		rows[i].Trouble = rows[i].trouble()
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Trouble, a.Trouble), live.CompareNatural(a.Pool, b.Pool), live.CompareNatural(a.ID, b.ID), live.CompareNatural(a.Veth, b.Veth))
	})
	return rows
}

func (r *Row) trouble() int {
	owned := r.Pool != "" || r.ID != ""
	inUse := r.Link == string(hub.LinkUp) || r.Link == ""
	ink := terminal.InkOf(r.State)
	switch {
	case owned && !inUse, ink == terminal.InkBad && r.State != "stopped":
		return broken
	case !inUse, ink == terminal.InkPass:
		return idle
	case !owned:
		return unknown
	}
	return 0
}
