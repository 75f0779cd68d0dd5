package hub

import (
	"bytes"
	"sync/atomic"
	"time"
)

// Limits of one event. An event beyond them is refused with an error, see
// [InvalidEventError] and [TooLargeError].
const (
	MaxOptions = 64 // options of one event
	MaxNesting = 8  // containers nested in the value of one option
	// MaxEncoded is the largest encoded event, in bytes. The D-Bus service refuses larger
	// reports, and the hub adds no name that would make an event larger.
	MaxEncoded = 64 << 10
)

// Option is one option of an event.
type Option struct {
	Name  string
	Value Value
}

// Options are the options of one event, in the order in which they came. No two
// have the same name.
type Options []Option

// Get returns the value of the option with that name.
func (o Options) Get(name string) (Value, bool) {
	for i := range o {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return Value{}, false
}

// Text returns the text of a string option, "" if there is none of that name or
// if it is no string.
func (o Options) Text(name string) string {
	v, _ := o.Get(name)
	if v.kind != KindString {
		return ""
	}
	return v.text
}

// Event is one event. [NewEvent] makes it, [Hub.Commit] numbers it; from then on
// nobody changes it, so it may be shared between goroutines without a lock.
type Event struct {
	// Type says what the event is about, see [Types].
	Type string
	// Action is the event's verb: the option action of db and ct_netif, state of
	// state and management; else empty.
	Action string
	// Pool and ID name the container, where the event has one. The ID of a
	// management event is that of the command.
	Pool, ID string
	// Source is [SourceNetlink] or [SourceCgroup] for an event that the service made, else the
	// systemd unit of the reporter or "uid:N".
	Source string
	// Seq is the number of the event, consecutive from 1 within an epoch. 0 until
	// the event is committed.
	Seq uint64
	// Time is when the hub took the event, with microseconds.
	Time time.Time
	// Options are all options as reported, secrets replaced, and [OptionName].
	Options Options

	keys     [numKeys]string // what filters compare
	size     int             // its bytes in memory, approximately
	encoding atomic.Pointer[[]byte]
}

// Encoding returns the wire form of a committed event. The first call makes it by encode and keeps
// it with the event; nobody may change it. Concurrent first calls may each call encode; one result
// is kept.
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

// NewEvent checks an event and makes it ready for [Hub.Commit]: the type's
// schema holds, names and nesting are within the limits, strings are UTF-8, no
// dict has a key twice, and secrets are replaced (see [Redact]). A source that is not
// UTF-8 is written as [PlainText] does.
//
// The event is a copy, so the caller may clear or reuse the message that typ, source and the texts
// in options are parts of. Secrets are replaced in options itself, too. Errors are
// [InvalidEventError] and [TooLargeError]; they may share memory with the arguments.
func NewEvent(typ string, options Options, source string) (*Event, error) {
	if err := validate(typ, options); err != nil {
		return nil, err
	}
	redactOptions(options)
	return makeEvent(typ, options, source), nil
}

// makeEvent makes an event that is a copy of its arguments. They were checked, now or before the
// event was stored.
func makeEvent(typ string, options Options, source string) *Event {
	source = validText(source)
	commandID := "" // as text, where it is a number
	if id, ok := options.Get("id"); ok && typ == TypeManagement && id.Integer() {
		commandID = string(id.AppendJSON(nil))
	}
	f := measure(typ, source, commandID, options)
	var k keeper
	k.grow(&f)
	e := &Event{Type: k.texts.keep(typ), Source: k.texts.keep(source), ID: k.texts.keep(commandID)}
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

// measure returns the footprint of an event without what setSize adds.
func measure(typ, source, commandID string, options Options) (f footprint) {
	for _, s := range [...]string{typ, source, commandID} {
		f.text(s)
	}
	f.options(options)
	return f
}

// setSize sets the size of an event that was measured.
func (e *Event) setSize(f *footprint) {
	f.encoded += len(e.Action) + len(e.Pool) + len(e.ID) + encodedOverhead
	e.size = f.size(len(e.Options))
}

// encodedOverhead is what the encoding of an event has beside its texts and options, at
// most, with the header that keeps it.
const encodedOverhead = 96
