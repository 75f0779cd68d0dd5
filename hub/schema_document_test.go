package hub

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/packaging"
)

func knownTypes() []string {
	return []string{TypeManagement, TypeState, TypeDB, TypeNetif, TypeInitPID, TypeScheduled, TypeExit, TypeInfo, TypeHealth, TypeOOM, TypeShutdown}
}

// The interface's XML lists each option of each known type, optional ones in brackets.
func TestSchemasAreDocumented(t *testing.T) {
	for _, typ := range knownTypes() {
		_, line, ok := strings.Cut(packaging.Interface, "\n    - "+typ+": ")
		line, _, _ = strings.Cut(line, "\n")
		if !ok {
			t.Errorf("the type %s is not documented", typ)
		}
		for _, r := range schemaOf(typ) {
			found := regexp.MustCompile(`(^|, )(\[?)` + r.option + ` \(`).FindStringSubmatch(line)
			if found == nil || (found[2] == "[") != r.optional {
				t.Errorf("%s: option %s (optional %v) is documented as %q", typ, r.option, r.optional, found)
			}
			for _, value := range r.oneOf {
				if !strings.Contains(line, value) {
					t.Errorf("%s: option %s: %s is not documented", typ, r.option, value)
				}
			}
		}
	}
}

// eventsPage returns packaging/doc/events.md.
func eventsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../packaging/doc/events.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// tableRow matches a row of a table that begins with a name in backquotes.
var tableRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (.*?) \\|")

// The table of types in events.md has the known types with their options, optional ones after the
// word optional.
func TestTableOfTypes(t *testing.T) {
	table, _, _ := strings.Cut(eventsPage(t), "\n## ")
	left := knownTypes()
	for _, row := range tableRow.FindAllStringSubmatch(table, -1) {
		at := slices.Index(left, row[1])
		if at < 0 {
			t.Errorf("the type %s is repeated or unknown", row[1])
			continue
		}
		left = slices.Delete(left, at, at+1)
		always, optional, _ := strings.Cut(row[2], "optional")
		documented := regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[2], -1)
		for _, r := range schemaOf(row[1]) {
			where := always
			if r.optional {
				where = optional
			}
			if !strings.Contains(where, "`"+r.option+"`") {
				t.Errorf("%s: option %s (optional %v) is in the wrong place in %q", row[1], r.option, r.optional, row[2])
			}
			if values := strings.Join(r.oneOf, ", "); !strings.Contains(row[2], values) {
				t.Errorf("%s: option %s: missing values %q in %q", row[1], r.option, values, row[2])
			}
			documented = slices.DeleteFunc(documented, func(d []string) bool { return d[1] == r.option })
		}
		for _, d := range documented {
			t.Errorf("%s: no schema has the option %s", row[1], d[1])
		}
	}
	if len(left) > 0 {
		t.Errorf("events.md lacks the types %q", left)
	}
}

// events.md lists the options of the watcher's events.
func TestTableOfWatcherOptions(t *testing.T) {
	_, options, _ := strings.Cut(packaging.Interface, "may have these options, too:")
	options, _, _ = strings.Cut(options, "    Properties say")
	found := regexp.MustCompile(`(?m)^    - ([a-z_]+) \(`).FindAllStringSubmatch(options, -1)
	if len(found) < 8 {
		t.Fatalf("the XML lists only the options %q", found)
	}
	for _, option := range found {
		if !strings.Contains(eventsPage(t), "`"+option[1]+"`") {
			t.Errorf("events.md does not have the option %s", option[1])
		}
	}
}
