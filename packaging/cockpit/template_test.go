package cockpit

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the template for translations") //nolint:gochecknoglobals // a flag

const template = "po/cockpit-osctl-eventd.pot"

const templateHeader = `# Template for translations of the page for Cockpit of osctl-eventd.
msgid ""
msgstr ""
"Project-Id-Version: osctl-eventd\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\n"
`

// Where texts of the page stand in its sources.
var (
	calls  = regexp.MustCompile(`\b(?:_\((".*?[^\\]")\)|ngettext\((".*?[^\\]"), (".*?[^\\]"), )`)
	marked = regexp.MustCompile(`translate="yes">([^<]*)<`)
	labels = regexp.MustCompile(`"label": (".*?")`)
)

// TestTemplate wants the template for translations to have all texts of the page.
func TestTemplate(t *testing.T) {
	texts := map[string]*text{}
	add := func(file, one, many string) {
		if texts[one] == nil {
			texts[one] = &text{plural: many}
		}
		texts[one].add(file)
	}
	files, err := filepath.Glob("page/*")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range calls.FindAllStringSubmatch(string(source), -1) {
			add(file, m[1]+m[2], m[3])
		}
		for _, m := range marked.FindAllStringSubmatch(string(source), -1) {
			add(file, fmt.Sprintf("%q", m[1]), "")
		}
		for _, m := range labels.FindAllStringSubmatch(string(source), -1) {
			add(file, m[1], "")
		}
	}
	var b strings.Builder
	b.WriteString(templateHeader)
	for _, one := range slices.Sorted(maps.Keys(texts)) {
		texts[one].write(&b, one)
	}
	if *update {
		if err := os.WriteFile(template, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(template); err != nil || string(kept) != b.String() {
		t.Errorf("%s is not of the texts that the page has now: write it anew with `make man` (%v)", template, err)
	}
}

// text is a text of the page, and where it stands.
type text struct {
	plural string
	files  []string
}

func (x *text) add(file string) {
	if !slices.Contains(x.files, file) {
		x.files = append(x.files, file)
	}
}

func (x *text) write(b *strings.Builder, one string) {
	fmt.Fprintf(b, "\n#: %s\nmsgid %s\n", strings.Join(x.files, " "), one)
	if x.plural != "" {
		fmt.Fprintf(b, "msgid_plural %s\nmsgstr[0] \"\"\nmsgstr[1] \"\"\n", x.plural)
		return
	}
	b.WriteString("msgstr \"\"\n")
}
