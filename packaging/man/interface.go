package man

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/osctl/eventd/packaging"
)

// member is a member of the interface with its documentation.
type member struct {
	kind, name string
	args       []arg
	typ        string // of a property
	comment    string
}

type arg struct{ name, typ, direction string }

// Interface makes org.osctl.Eventd(5) of the interface's documentation.
func Interface() (*Page, error) {
	about, members, err := readInterface(packaging.Interface)
	if err != nil {
		return nil, err
	}
	const name = "org.osctl.Eventd"
	short := "events of containers and their network interfaces"
	p := New(name, 5, short)
	p.Section("SYNOPSIS")
	p.Example("bus name   " + name + "\nobject     /org/osctl/Eventd\ninterface  " + name)
	p.Section("DESCRIPTION")
	_, about, _ = strings.Cut(about, short)
	p.Text(about)
	for _, section := range []struct{ kind, title string }{{"method", "METHODS"}, {"signal", "SIGNALS"}, {"property", "PROPERTIES"}} {
		p.Section(section.title)
		for _, m := range members {
			if m.kind == section.kind {
				p.member(m)
			}
		}
	}
	p.Section("EXAMPLES")
	p.Text("With the tools of systemd:")
	p.Example(`busctl introspect org.osctl.Eventd /org/osctl/Eventd
busctl monitor --match "type='signal',sender='org.osctl.Eventd',arg0='ct_netif',arg3='101'"
busctl call org.osctl.Eventd /org/osctl/Eventd org.osctl.Eventd \
    Report 'sa{sv}' state 3 pool s tank id s 101 state s running
busctl call org.osctl.Eventd /org/osctl/Eventd org.osctl.Eventd \
    WaitEvents 'sa{sv}uu' oldest 1 type s ct_netif 0 0`)
	p.languages()
	p.Section("SEE ALSO")
	p.Text("osctl-eventctl(1), osctl-eventd-recipes(7), osctl-eventd(8), busctl(1), dbus-daemon(1)")
	return p, nil
}

// member adds a member: its signature, its arguments and its description.
func (p *Page) member(m member) {
	arguments, text := splitComment(m.comment, m.name)
	if m.kind == "property" {
		p.Item(m.name+" "+m.typ, text)
		return
	}
	var in, out []string
	for _, a := range m.args {
		if a.direction == "out" {
			out = append(out, a.typ+" "+a.name)
		} else {
			in = append(in, a.typ+" "+a.name)
		}
	}
	signature := m.name + "(" + strings.Join(in, ", ") + ")"
	if len(out) > 0 {
		signature += " -> (" + strings.Join(out, ", ") + ")"
	}
	p.Subsection(signature)
	p.Text(text)
	for _, a := range arguments {
		p.Item(a[0], a[1])
	}
}

// splitComment splits a comment into the arguments it describes, "@name: text", and the
// rest.
func splitComment(comment, name string) (arguments [][2]string, text string) {
	var rest []string
	for line := range strings.SplitSeq(dedent(comment), "\n") {
		if argument, ok := strings.CutPrefix(line, "@"); ok {
			argument, text, _ := strings.Cut(argument, ": ")
			arguments = append(arguments, [2]string{argument, text})
			continue
		}
		line, isHead := strings.CutPrefix(line, name+":")
		if !isHead || strings.TrimSpace(line) != "" {
			rest = append(rest, line)
		}
	}
	return arguments, strings.TrimSpace(strings.Join(rest, "\n"))
}

// reader gathers the members of the first interface of a document; the others are
// standard.
type reader struct {
	comment    string // the last one
	about      string // the one before the interface
	interfaces int
	members    []member
}

// readInterface reads the introspection document: the comment before the interface, and
// its members, each with the comment before it.
func readInterface(document string) (about string, members []member, err error) {
	var r reader
	d := xml.NewDecoder(strings.NewReader(document))
	for {
		token, err := d.Token()
		switch token := token.(type) {
		case xml.Comment:
			r.comment = string(token)
		case xml.StartElement:
			r.element(token)
		}
		if errors.Is(err, io.EOF) {
			return r.about, r.members, nil
		}
		if err != nil {
			return "", nil, fmt.Errorf("the interface's document: %w", err)
		}
	}
}

func (r *reader) element(token xml.StartElement) {
	attrs := map[string]string{}
	for _, a := range token.Attr {
		attrs[a.Name.Local] = a.Value
	}
	kind := token.Name.Local
	if kind == "interface" {
		if r.interfaces++; r.interfaces == 1 {
			r.about = dedent(r.comment)
		}
	}
	if r.interfaces != 1 {
		return
	}
	switch kind {
	case "method", "signal", "property":
		r.members = append(r.members, member{kind: kind, name: attrs["name"], typ: attrs["type"], comment: r.comment})
	case "arg":
		last := &r.members[len(r.members)-1]
		last.args = append(last.args, arg{attrs["name"], attrs["type"], attrs["direction"]})
	}
}
