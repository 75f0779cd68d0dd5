package eventjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/osctl/eventd/hub"
)

// ParseEvent parses an event that [hub.Event.AppendJSON] wrote, and returns the epoch of its cursor.
// The text may come from anywhere, because [hub.NewEvent] checks the event. Options keep their
// order; their D-Bus types are only those that JSON can distinguish.
func ParseEvent(text []byte) (event *hub.Event, epoch string, err error) {
	object, err := decodeObject(text)
	if err != nil {
		return nil, "", err
	}
	report, err := reportOf(object)
	if err != nil {
		return nil, "", err
	}
	textOf := func(key string) string {
		text, _ := object[key].(string)
		return text
	}
	epoch, seq, err := hub.ParseCursor(textOf("cursor"))
	if err != nil {
		return nil, "", err
	}
	at, err := time.Parse(time.RFC3339, textOf("time"))
	if err != nil {
		return nil, "", fmt.Errorf("the time of an event: %w", err)
	}
	if year := at.UTC().Year(); year < 0 || year > 9999 {
		return nil, "", fmt.Errorf("the time of an event: the year %d cannot be written", year)
	}
	order := optionOrder(text)
	slices.SortFunc(report.Options, func(a, b hub.Option) int { return order[a.Name] - order[b.Name] })
	event, err = hub.NewEvent(report.Type, report.Options, textOf("source"))
	if err != nil {
		return nil, "", err
	}
	event.Seq, event.Time = seq, at
	return event, epoch, nil
}

// optionOrder returns the position of each option in text, which is valid JSON.
func optionOrder(text []byte) map[string]int {
	var line map[string]json.RawMessage
	if json.Unmarshal(text, &line) != nil {
		return nil
	}
	order := map[string]int{}
	d := json.NewDecoder(bytes.NewReader(line["opts"]))
	_, _ = d.Token() // the brace
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			break
		}
		order[fmt.Sprint(name)] = len(order)
	}
	return order
}
