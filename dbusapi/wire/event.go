package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
)

// EventType is the D-Bus type of an event: the body of the signal without the
// parentheses, and the element of the array that WaitEvents returns.
const EventType = "ssssstta{sv}"

// MaxEvent is the size of the largest encoded event, in bytes.
const MaxEvent = hub.MaxEncoded

// usualOptions is the usual number of options of an event.
const usualOptions = 8

// EncodeEvent returns the encoding of an event as [EventType]. It may be copied to
// any offset in a body that is a multiple of 8.
func EncodeEvent(event *hub.Event) []byte {
	e := Encoder{Bytes: make([]byte, 0, 256)}
	e.event(event)
	return e.Bytes
}

func (e *Encoder) event(event *hub.Event) {
	e.String(event.Type)
	e.String(event.Action)
	e.String(event.Pool)
	e.String(event.ID)
	e.String(event.Source)
	e.Uint64(event.Seq)
	e.Uint64(hub.Micros(event.Time))
	e.Options(event.Options)
}

// Events appends an array of events, encoding each at most once in its life.
func (e *Encoder) Events(events []*hub.Event) {
	e.Array('(', func() {
		for _, event := range events {
			e.Align(8)
			e.Bytes = append(e.Bytes, event.Encoding(EncodeEvent)...)
		}
	})
}

// Structs reads an array of structs. It calls each to read the fields of a
// struct, until each returns false.
func (d *Decoder) Structs(each func() bool) {
	for end := d.array('('); d.more(end); {
		d.take(0, 8)
		if !each() {
			return
		}
	}
}

// Events reads an array of events, as a client does.
func (d *Decoder) Events() []*hub.Event {
	var events []*hub.Event
	d.Structs(func() bool {
		if event := d.Event(); d.err == nil {
			events = append(events, event)
		}
		return true
	})
	return events
}

// Event reads the fields of one event, such as the body of the signal.
func (d *Decoder) Event() *hub.Event {
	return &hub.Event{
		Type: d.String(), Action: d.String(), Pool: d.String(), ID: d.String(), Source: d.String(),
		Seq: d.Uint64(), Time: time.UnixMicro(int64(d.Uint64())), //nolint:gosec // a time of this era
		Options: d.Dict(),
	}
}

// Dict reads an a{sv} from the service, as a client does.
func (d *Decoder) Dict() hub.Options {
	options := make(hub.Options, 0, usualOptions)
	for end := d.array('{'); d.more(end); {
		d.take(0, 8)
		name, typ := d.String(), d.variantType()
		if d.err != nil {
			return nil
		}
		options = append(options, hub.Option{Name: name, Value: d.Value(typ, maxTotalNesting)})
	}
	return options
}

// Options reads an a{sv} from a client as the options of an event of the given
// type. The error of an invalid option is a [hub.InvalidEventError]; of more
// than MaxEvent bytes, or too many options, it is a [hub.TooLargeError].
func (d *Decoder) Options(event string) hub.Options {
	start := d.pos
	end := d.array('{')
	if d.err == nil && end-start > MaxEvent {
		d.err = &hub.TooLargeError{What: "bytes of one event", Got: end - start, Limit: MaxEvent}
	}
	var options hub.Options
	for d.more(end) {
		if len(options) == hub.MaxOptions {
			d.err = &hub.TooLargeError{What: "options of one event", Got: len(options) + 1, Limit: hub.MaxOptions}
			return nil
		}
		d.take(0, 8)
		option := hub.Option{Name: d.String()}
		if d.err != nil {
			return nil
		}
		if options == nil {
			options = make(hub.Options, 0, usualOptions)
		}
		if typ := d.variantType(); d.err == nil {
			option.Value = d.Value(typ, hub.MaxNesting)
		}
		if d.err != nil {
			d.err = optionError(event, option.Name, d.err)
			return nil
		}
		options = append(options, option)
	}
	return options
}

// optionError returns the error for an option that could not be decoded.
func optionError(event, option string, err error) error {
	invalid := &hub.InvalidEventError{Type: event, Option: option, Got: err.Error(), Expected: "a valid D-Bus value"}
	switch {
	case errors.Is(err, errTooDeep):
		invalid.Got, invalid.Expected = "deeper nesting", fmt.Sprintf("at most %d nested containers", hub.MaxNesting)
	case errors.Is(err, errUnixFD):
		invalid.Got, invalid.Expected = "a file descriptor (h)", "a value without file descriptors"
	case errors.Is(err, errUTF8):
		invalid.Got, invalid.Expected = "a string that is not UTF-8", "strings of valid UTF-8 without NUL"
	}
	return invalid
}

// Filter reads a filter: an a{sv} whose values are a string or an array of strings. The filter owns its
// strings. Only the given keys are allowed, or all keys if none is given. The error of an invalid key
// is a [hub.InvalidFilterError].
func (d *Decoder) Filter(keys ...string) hub.Filter {
	var filter hub.Filter
	for end := d.array('{'); d.more(end); {
		d.take(0, 8)
		key, typ := d.String(), d.variantType()
		if d.err != nil {
			return hub.Filter{}
		}
		var values []string
		switch {
		case keys != nil && !slices.Contains(keys, key):
			d.err = &hub.InvalidFilterError{Key: key, Reason: "not taken here; the keys are " + strings.Join(keys, ", ")}
		case typ == "s":
			values = []string{strings.Clone(d.String())}
		case typ == "as":
			for end := d.array('s'); d.more(end); {
				if values = append(values, strings.Clone(d.String())); len(values) > hub.MaxFilterValues {
					break
				}
			}
		default:
			d.err = &hub.InvalidFilterError{Key: key, Reason: fmt.Sprintf("a value of type %q; expected a string (s) or an array of strings (as)", typ)}
		}
		if d.err != nil {
			return hub.Filter{}
		}
		var err error
		if filter, err = filter.With(key, values...); err != nil {
			d.err = err
		}
	}
	return filter
}

// Filter appends a filter as a{sv}.
func (e *Encoder) Filter(filter hub.Filter) {
	e.Array('{', func() {
		for _, key := range filter.Keys() {
			e.Align(8)
			e.String(key)
			e.Variant(hub.Strings(filter.Values(key)...))
		}
	})
}

// D-Bus types of the rows of the lists: of an interface (ifindex, veth, name, pool, id, state,
// more) and of a container (pool, id, state, time of the last change, more).
const (
	InterfaceType = "(usssssa{sv})"
	ContainerType = "(sssta{sv})"
)
