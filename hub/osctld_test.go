package hub

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// fromJSON converts a JSON value as a bridge does. A null means no value and becomes an invalid one.
func fromJSON(t *testing.T, from any) Value {
	t.Helper()
	switch from := from.(type) {
	case nil:
		return Value{}
	case string:
		return String(from)
	case float64:
		return Int64(int64(from))
	case []any:
		items := make([]Value, len(from))
		for i := range from {
			items[i] = Variant(fromJSON(t, from[i]))
		}
		return Array("v", items)
	case map[string]any:
		var items []Value
		for key, value := range from {
			if v := fromJSON(t, value); v.Kind() != KindInvalid {
				items = append(items, String(key), Variant(v))
			}
		}
		return Dict("s", "v", items)
	}
	t.Fatalf("unexpected JSON value %T", from)
	return Value{}
}

// The hub accepts the lines that the classes of osctld produce.
func TestOsctldEventsAreAccepted(t *testing.T) {
	content, err := os.ReadFile("testdata/osctld.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		var parsed struct {
			Type string         `json:"type"`
			Opts map[string]any `json:"opts"`
		}
		if err := json.Unmarshal([]byte(line), &parsed); err != nil {
			t.Fatal(err)
		}
		var options Options
		for name, value := range parsed.Opts {
			if v := fromJSON(t, value); v.Kind() != KindInvalid {
				options = append(options, Option{name, v})
			}
		}
		e, err := NewEvent(parsed.Type, options, "osctld.service")
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if strings.Contains(string(e.AppendJSON(nil, "")), "not to be seen") {
			t.Errorf("%s: the password is not redacted", line)
		}
	}
}
