package hub

import (
	"regexp"
	"strings"
	"testing"

	"github.com/osctl/eventd/packaging"
)

// TestSchemasAreDocumented wants each option of each known type in the interface's document,
// those that may be left out in brackets.
func TestSchemasAreDocumented(t *testing.T) {
	for _, typ := range []string{
		TypeManagement, TypeState, TypeDB, TypeNetif, TypeInitPID, TypeScheduled, TypeExit, TypeInfo, TypeHealth, TypeOOM, TypeShutdown,
	} {
		_, line, ok := strings.Cut(packaging.Interface, "\n    - "+typ+": ")
		line, _, _ = strings.Cut(line, "\n")
		if !ok {
			t.Errorf("the type %s is not documented", typ)
		}
		for _, r := range schemaOf(typ) {
			found := regexp.MustCompile(`(^|, )(\[?)` + r.option + ` \(`).FindStringSubmatch(line)
			if found == nil || (found[2] == "[") != r.optional {
				t.Errorf("%s: option %s, which may be left out: %v, is documented as %q", typ, r.option, r.optional, found)
			}
			for _, value := range r.oneOf {
				if !strings.Contains(line, value) {
					t.Errorf("%s: option %s: %s is not documented", typ, r.option, value)
				}
			}
		}
	}
}
