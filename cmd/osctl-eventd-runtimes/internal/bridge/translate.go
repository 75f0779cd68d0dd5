package bridge

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// Limits of the texts of a report, in bytes. Longer texts are cut off. All become printable UTF-8.
const (
	maxName   = 255
	maxImage  = 512
	maxLabels = 32 // labels of a report, the first ones by key
	maxKey    = 128
	maxValue  = 512
)

// idDigits is the number of hexadecimal digits in the id of a container.
const idDigits = 64

// optionOccurred is the option with the time of an event by the runtime's clock, in microseconds (t). Together
// with the id it identifies an exit.
const optionOccurred = "occurred"

func validID(id string) bool {
	return len(id) == idDigits && strings.Trim(id, "0123456789abcdef") == ""
}

// info is what a ct_info event has about a container.
type info struct {
	name, image string
	labels      map[string]string
}

// same reports whether the lists of osctl-eventd show no difference.
func (i info) same(other info) bool { return i.name == other.name && i.image == other.image }

// newInfo returns an info with the texts of the runtime, printable and within the limits.
func newInfo(name, image string, labels map[string]string) info {
	i := info{name: plain(strings.TrimPrefix(name, "/"), maxName), image: plain(image, maxImage), labels: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if len(i.labels) == maxLabels {
			break
		}
		i.labels[plain(key, maxKey)] = plain(labels[key], maxValue)
	}
	return i
}

func plain(text string, limit int) string { return hub.PlainText([]byte(text), limit) }

// attributes returns the names of those attributes of an event that are not labels.
func attributes() []string {
	return []string{"name", "image", "oldName", "exitCode", "containerExitCode", "execID", "execDuration", "signal", "podId"}
}

// eventInfo returns the info in an event, whose attributes include the labels of the container.
func eventInfo(m *events.Message) info {
	labels := maps.Clone(m.Actor.Attributes)
	for _, key := range attributes() {
		delete(labels, key)
	}
	return newInfo(m.Actor.Attributes["name"], m.Actor.Attributes["image"], labels)
}

// occurred returns the time of an event, in microseconds.
func occurred(m *events.Message) time.Time {
	if m.TimeNano != 0 {
		return time.Unix(0, m.TimeNano).Truncate(time.Microsecond)
	}
	return time.Unix(m.Time, 0)
}

// newReport returns an event about a container.
func newReport(typ, pool, id string, options ...hub.Option) client.Report {
	return client.Report{Type: typ, Options: append(hub.Options{text("pool", pool), text("id", id)}, options...)}
}

func text(name, value string) hub.Option { return hub.Option{Name: name, Value: hub.String(value)} }

// appendName appends the name of the container if it is known.
func appendName(options []hub.Option, name string) []hub.Option {
	if name == "" {
		return options
	}
	return append(options, text(hub.OptionName, name))
}

// infoReport reports the info of a container.
func infoReport(pool, id string, i info) client.Report {
	options := []hub.Option{text("name", i.name)}
	if i.image != "" {
		options = append(options, text("image", i.image))
	}
	if len(i.labels) > 0 {
		var items []hub.Value
		for _, key := range slices.Sorted(maps.Keys(i.labels)) {
			items = append(items, hub.String(key), hub.String(i.labels[key]))
		}
		options = append(options, hub.Option{Name: "labels", Value: hub.Dict("s", "s", items)})
	}
	return newReport(hub.TypeInfo, pool, id, options...)
}

// exitReport reports that a container ended.
func exitReport(pool string, m *events.Message) client.Report {
	options := []hub.Option{text("exit_type", "exit")}
	code := cmp.Or(m.Actor.Attributes["exitCode"], m.Actor.Attributes["containerExitCode"])
	if n, err := strconv.ParseInt(code, 10, 32); err == nil {
		options = append(options, hub.Option{Name: "exit_code", Value: hub.Int32(int32(n))})
	}
	options = append(options, hub.Option{Name: optionOccurred, Value: hub.Uint64(hub.Micros(occurred(m)))})
	return newReport(hub.TypeExit, pool, m.Actor.ID, appendName(options, eventInfo(m).name)...)
}

// dbReport reports that a container was added or removed.
func dbReport(pool, id, action, name string) client.Report {
	return newReport(hub.TypeDB, pool, id, appendName([]hub.Option{text("object", "container"), text("action", action)}, name)...)
}

// healthReport reports a changed result of a health check.
func healthReport(pool, id, health, name string) client.Report {
	return newReport(hub.TypeHealth, pool, id, appendName([]hub.Option{text("health", health)}, name)...)
}
