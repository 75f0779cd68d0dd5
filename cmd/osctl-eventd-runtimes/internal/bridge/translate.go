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

// Limits of what is passed on of a container, in bytes where nothing else is said. Texts become
// printable UTF-8 and are cut off there.
const (
	maxName   = 255
	maxImage  = 512
	maxLabels = 32 // the first ones by key
	maxKey    = 128
	maxValue  = 512
)

// idDigits is how long the id of a container is, in hexadecimal digits.
const idDigits = 64

// optionOccurred is the option that says when something happened by the runtime's clock, in
// microseconds (t). With the id it tells two exits apart.
const optionOccurred = "occurred"

func validID(id string) bool {
	return len(id) == idDigits && strings.Trim(id, "0123456789abcdef") == ""
}

// info is what people know of a container.
type info struct {
	name, image string
	labels      map[string]string
}

// same reports whether the service would show the same.
func (i info) same(other info) bool { return i.name == other.name && i.image == other.image }

// newInfo makes texts of the runtime fit to be passed on.
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

// attributes are the attributes of an event that are no labels.
func attributes() []string {
	return []string{"name", "image", "oldName", "exitCode", "containerExitCode", "execID", "execDuration", "signal", "podId"}
}

// eventInfo returns what an event says of its container: its attributes have the labels, too.
func eventInfo(m *events.Message) info {
	labels := maps.Clone(m.Actor.Attributes)
	for _, key := range attributes() {
		delete(labels, key)
	}
	return newInfo(m.Actor.Attributes["name"], m.Actor.Attributes["image"], labels)
}

// occurred returns when an event happened, with microseconds.
func occurred(m *events.Message) time.Time {
	if m.TimeNano != 0 {
		return time.Unix(0, m.TimeNano).Truncate(time.Microsecond)
	}
	return time.Unix(m.Time, 0)
}

// report makes an event about a container.
func report(typ, pool, id string, options ...hub.Option) client.Report {
	return client.Report{Type: typ, Options: append(hub.Options{text("pool", pool), text("id", id)}, options...)}
}

func text(name, value string) hub.Option { return hub.Option{Name: name, Value: hub.String(value)} }

// named appends the name of the container where it is known.
func named(options []hub.Option, name string) []hub.Option {
	if name == "" {
		return options
	}
	return append(options, text(hub.OptionName, name))
}

// infoReport says how people call a container.
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
	return report(hub.TypeInfo, pool, id, options...)
}

// exitReport says that a container ended.
func exitReport(pool string, m *events.Message) client.Report {
	options := []hub.Option{text("exit_type", "exit")}
	code := cmp.Or(m.Actor.Attributes["exitCode"], m.Actor.Attributes["containerExitCode"])
	if n, err := strconv.ParseInt(code, 10, 32); err == nil {
		options = append(options, hub.Option{Name: "exit_code", Value: hub.Int32(int32(n))})
	}
	options = append(options, hub.Option{Name: optionOccurred, Value: hub.Uint64(hub.Micros(occurred(m)))})
	return report(hub.TypeExit, pool, m.Actor.ID, named(options, eventInfo(m).name)...)
}

// dbReport says that a container was added or removed.
func dbReport(pool, id, action, name string) client.Report {
	return report(hub.TypeDB, pool, id, named([]hub.Option{text("object", "container"), text("action", action)}, name)...)
}

// healthReport says that a health check changed its result.
func healthReport(pool, id, health, name string) client.Report {
	return report(hub.TypeHealth, pool, id, named([]hub.Option{text("health", health)}, name)...)
}
