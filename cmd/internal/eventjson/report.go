package eventjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// reportForm is the hint in errors.
const reportForm = `expected {"type": "TYPE", "opts": {...}}`

// ParseReport parses an event to report. It ignores keys other than type and opts, and options that
// are null.
func ParseReport(text []byte) (client.Report, error) {
	line, err := decodeObject(text)
	if err != nil {
		return client.Report{}, err
	}
	return reportOf(line)
}

// decodeObject decodes text that is one JSON object.
func decodeObject(text []byte) (map[string]any, error) {
	v, err := decodeJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%w, "+reportForm, err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("got a JSON %s, "+reportForm, kindOf(v))
	}
	return object, nil
}

// reportOf takes type and options from a decoded object.
func reportOf(line map[string]any) (report client.Report, err error) {
	typ, ok := line["type"]
	if !ok {
		return report, errors.New("type is missing, " + reportForm)
	}
	if report.Type, ok = typ.(string); !ok {
		return report, fmt.Errorf("type is a JSON %s, "+reportForm, kindOf(typ))
	}
	options, ok := line["opts"].(map[string]any)
	if given := line["opts"]; !ok && given != nil {
		return report, fmt.Errorf("opts is a JSON %s, "+reportForm, kindOf(given))
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if options[name] == nil {
			continue // osctl prints a missing option as null
		}
		value, err := optionValue(options[name])
		if err != nil {
			return report, fmt.Errorf("option %q: %w", name, err)
		}
		report.Options = append(report.Options, hub.Option{Name: name, Value: value})
	}
	return report, nil
}

// kindOf returns the JSON name of a decoded value's type.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}
