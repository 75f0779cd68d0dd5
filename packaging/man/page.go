// Package man generates the manual pages in its directory: osctl-eventctl(1) from the commands,
// osctl-eventd(8) from the flags, org.osctl.Eventd(5) from the documentation of the interface, and
// osctl-eventd-recipes(7) from the recipes. Tests compare the pages with their sources; `make man`
// rewrites them. No program imports it.
package man

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// date is the date in the footer of each page. Change it with a release.
const date = "2026-11-30"

// Page is a manual page in the language of man(7).
type Page struct {
	b         strings.Builder
	skipBreak bool // set after a heading or an item, where no .PP is needed
}

// New begins a page with its name, section and one-line description.
func New(name string, section int, about string) *Page {
	p := &Page{}
	_, _ = fmt.Fprintf(&p.b, ".\\\" Made by package man: do not edit.\n.TH %s %d %s osctl-eventd\n", quote(strings.ToUpper(name)), section, date)
	p.Section("NAME")
	_, _ = fmt.Fprintf(&p.b, "%s \\- %s\n", escape(name), escape(about))
	return p
}

// Section begins a section.
func (p *Page) Section(title string) {
	p.b.WriteString(".SH " + quote(title) + "\n")
	p.skipBreak = true
}

// Subsection begins a part of a section.
func (p *Page) Subsection(title string) {
	p.b.WriteString(".SS " + quote(title) + "\n")
	p.skipBreak = true
}

// paragraph begins a paragraph.
func (p *Page) paragraph() {
	if !p.skipBreak {
		p.b.WriteString(".PP\n")
	}
	p.skipBreak = false
}

// Flags adds an item for each flag but help, with its default value.
func (p *Page) Flags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if value != "" {
			term += " " + strings.ToUpper(value)
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			usage += "; " + f.DefValue + " if it is not given"
		}
		p.Item(term, usage)
	})
}

// Text adds text. Blank lines separate paragraphs, indented lines are an example, and lines
// "- term: text" are items.
func (p *Page) Text(text string) {
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		switch {
		case strings.HasPrefix(paragraph, "  "):
			p.Example(paragraph)
		case strings.HasPrefix(paragraph, "- "):
			p.items(paragraph)
		default:
			p.paragraph()
			p.lines(paragraph)
		}
	}
}

// items adds a list of items "- term: text". Other lines continue the text.
func (p *Page) items(list string) {
	for item := range strings.SplitSeq(strings.TrimPrefix(list, "- "), "\n- ") {
		term, text, _ := strings.Cut(item, ": ")
		p.Item(term, text)
	}
}

// Item adds a term and its description.
func (p *Page) Item(term, text string) {
	p.skipBreak = false
	p.b.WriteString(".TP\n.B " + quote(term) + "\n")
	for i, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			p.b.WriteString(".IP\n")
		}
		p.lines(paragraph)
	}
}

// ItemLine adds a line of code to an item, as it is.
func (p *Page) ItemLine(code string) {
	p.b.WriteString(".IP\n.EX\n")
	p.line(code)
	p.b.WriteString(".EE\n")
}

// Example adds lines verbatim, without their common indent.
func (p *Page) Example(text string) {
	p.paragraph()
	p.b.WriteString(".in +4n\n.EX\n")
	for line := range strings.SplitSeq(dedent(text), "\n") {
		p.line(line)
	}
	p.b.WriteString(".EE\n.in\n")
}

// String returns the page.
func (p *Page) String() string { return p.b.String() }

// lines adds a paragraph, which man(1) fills.
func (p *Page) lines(paragraph string) {
	for line := range strings.SplitSeq(paragraph, "\n") {
		p.line(strings.TrimSpace(line))
	}
}

// line adds one line of text. It escapes a leading dot or quote, which would begin a request.
func (p *Page) line(text string) {
	text = escape(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	p.b.WriteString(text + "\n")
}

// escape makes text stand for itself, see groff_char(7).
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`,
		"…", "...", "↑", "up", "↓", "down", "←", "left", "→", "right").Replace(text)
}

// quote makes text one argument of a request.
func quote(text string) string { return `"` + strings.ReplaceAll(escape(text), `"`, `\(dq`) + `"` }

// dedent takes away the indent that all lines have.
func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	least := -1
	for _, line := range lines {
		if n := len(line) - len(strings.TrimLeft(line, " ")); strings.TrimSpace(line) != "" && (least < 0 || n < least) {
			least = n
		}
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(line[min(max(least, 0), len(line)):], " ")
	}
	return strings.Join(lines, "\n")
}

// Drift compares a page with the file at path, which it rewrites first if update is set. The error says what to do.
func Drift(path string, page *Page, update bool) error {
	if update {
		return os.WriteFile(path, []byte(page.String()), 0o644) //nolint:gosec // everybody may read it
	}
	have, err := os.ReadFile(path) //nolint:gosec // a page of ours
	if err != nil {
		return fmt.Errorf("%w; write it with `make man`", err)
	}
	if string(have) != page.String() {
		return fmt.Errorf("%s differs from its source: rewrite it with `make man`", path)
	}
	return nil
}
