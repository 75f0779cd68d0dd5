package hub

import (
	"bytes"
	"sync/atomic"
	"time"
)

// Limits of one event. An event beyond them is refused with an [InvalidEventError] or a
// [TooLargeError].
const (
	MaxOptions = 64 // options of one event
	MaxNesting = 8  // containers nested in the value of one option
	// MaxEncoded is the size of the largest encoded event, in bytes. The D-Bus service refuses
	// larger reports, and the hub adds no [OptionName] that would exceed it.
	MaxEncoded = 64 << 10
)

// Option is one option of an event.
type Option struct {
	Name  string
	Value Value
}

// Options are the options of one event, in the reported order. No two have the same name.
type Options []Option

// Get returns the value of the named option.
func (o Options) Get(name string) (Value, bool) {
	for i := range o {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return Value{}, false
}

// Text returns the text of the named option, "" if it is missing or not a string.
func (o Options) Text(name string) string {
	v, _ := o.Get(name)
	if v.kind != KindString {
		return ""
	}
	return v.text
}

// Event is one event. [NewEvent] makes it, [Hub.Commit] numbers it. From then on it is immutable, so
// goroutines may share it without a lock.
type Event struct {
	// Type is one of the Type constants, or any other name of that form.
	Type string
	// Action is the event's verb: the option action of db and ct_netif, the option state of
	// state and management; otherwise "".
	Action string
	// Pool and ID name the container, if there is one. The ID of a management event is that of
	// the command.
	Pool, ID string
	// Source is [SourceNetlink] or [SourceCgroup] for an event of the service itself, otherwise
	// the systemd unit of the reporter or "uid:N".
	Source string
	// Seq is the number of the event, consecutive from 1 within an epoch; 0 until the event is
	// committed.
	Seq uint64
	// Time is when the hub numbered the event, with microseconds.
	Time time.Time
	// Options are all options as reported, secrets replaced, and [OptionName].
	Options Options

	keys     [numKeys]string // values that filters compare
	size     int             // its bytes in memory, approximately
	encoding atomic.Pointer[[]byte]
}

// Encoding returns the wire form of a committed event. The first call encodes it and keeps the result
// with the event. Concurrent first calls may each call encode; one result is kept. The caller must
// not change it.
func (e *Event) Encoding(encode func(*Event) []byte) []byte {
	if p := e.encoding.Load(); p != nil {
		return *p
	}
	made := encode(e)
	if len(made) < cap(made)/8*7 {
		made = bytes.Clone(made) // without the unused capacity
	}
	if !e.encoding.CompareAndSwap(nil, &made) {
		return *e.encoding.Load()
	}
	return made
}

// NewEvent makes an event for [Hub.Commit]. It checks the schema of the type, the limits on names and
// nesting, that strings are UTF-8, and that no dict has a key twice. It replaces secrets (see
// [Redact]), in options itself, too. It escapes a source that is not UTF-8 (see [PlainText]).
//
// The event is a copy, so the caller may reuse the memory of the arguments. Errors are
// [InvalidEventError] and [TooLargeError]; they may share memory with the arguments.
func NewEvent(typ string, options Options, source string) (*Event, error) {
	if err := validate(typ, options); err != nil {
		return nil, err
	}
	redactOptions(options)
	return makeEvent(typ, options, source), nil
}

// makeEvent makes an event that is a copy of its arguments. They were checked before.
func makeEvent(typ string, options Options, source string) *Event {
	source = validText(source)
	commandID := "" // text of a numeric id
	if id, ok := options.Get("id"); ok && typ == TypeManagement && id.Integer() {
		commandID = string(id.AppendJSON(nil))
	}
	f := measure(typ, source, commandID, options)
	var k optionCloner
	k.grow(&f)
	e := &Event{Type: k.texts.clone(typ), Source: k.texts.clone(source), ID: k.texts.clone(commandID)}
	e.Options = k.options(options)
	e.Pool = e.Options.Text("pool")
	if e.ID == "" {
		e.ID = e.Options.Text("id")
	}
	switch e.Type {
	case TypeDB, TypeNetif:
		e.Action = e.Options.Text("action")
	case TypeState, TypeManagement:
		e.Action = e.Options.Text("state")
	}
	e.keys = [numKeys]string{
		keyType: e.Type, keyAction: e.Action, keyPool: e.Pool, keyID: e.ID, keySource: e.Source,
		keyName: e.Options.Text("name"), keyVeth: e.Options.Text("veth"),
		keyCtName: e.Options.Text(OptionName),
	}
	e.setSize(&f)
	return e
}

// measure returns the footprint of an event, without the parts that setSize adds.
func measure(typ, source, commandID string, options Options) (f footprint) {
	for _, s := range [...]string{typ, source, commandID} {
		f.text(s)
	}
	f.options(options)
	return f
}

// setSize sets the size of an event from its footprint.
func (e *Event) setSize(f *footprint) {
	f.encoded += len(e.Action) + len(e.Pool) + len(e.ID) + encodedOverhead
	e.size = f.size(len(e.Options))
}

// encodedOverhead is the size of an event's encoding without its texts and options, at most, and
// of the slice header that keeps it.
const encodedOverhead = 96
