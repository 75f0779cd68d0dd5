package hub

import (
	"strconv"
	"sync/atomic"
	"time"
)

// Limits of one event. What is over them is refused with an error, see
// [InvalidEventError] and [TooLargeError].
const (
	MaxOptions = 64 // options of one event
	MaxNesting = 8  // containers nested in the value of one option
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
	// Source says who reported it: "netlink" for the watcher, else the systemd
	// unit of the reporter or "uid:N".
	Source string
	// Seq is the number of the event, consecutive from 1 within an epoch. 0 until
	// the event is committed.
	Seq uint64
	// Time is when the hub took the event, with microseconds.
	Time time.Time
	// Options are all options as reported, secrets replaced.
	Options Options

	keys     [numKeys]string // what filters look at
	size     int             // about its bytes in memory
	encoding atomic.Pointer[[]byte]
}

// Encoding returns the wire form of a committed event. It is made by encode when
// it is first asked for and kept with the event; nobody may change it. Callers
// that race may both call encode; one result is kept.
func (e *Event) Encoding(encode func(*Event) []byte) []byte {
	if p := e.encoding.Load(); p != nil {
		return *p
	}
	made := encode(e)
	if !e.encoding.CompareAndSwap(nil, &made) {
		return *e.encoding.Load()
	}
	return made
}

// NewEvent checks an event and makes it ready for [Hub.Commit]: the type's
// schema holds (see [Types]), names and nesting are within the limits, strings
// are UTF-8, and secrets are replaced (see [Redact]). The hub owns options from
// then on. Errors are [InvalidEventError] and [TooLargeError].
func NewEvent(typ string, options Options, source string) (*Event, error) {
	if err := validate(typ, options); err != nil {
		return nil, err
	}
	redactOptions(options)
	return makeEvent(typ, options, source), nil
}

// makeEvent makes an event of what was checked, now or before it was stored.
func makeEvent(typ string, options Options, source string) *Event {
	e := &Event{Type: typ, Source: source, Options: options}
	e.Pool = options.Text("pool")
	e.ID = options.Text("id")
	switch typ {
	case TypeDB, TypeNetif:
		e.Action = options.Text("action")
	case TypeState:
		e.Action = options.Text("state")
	case TypeManagement:
		e.Action = options.Text("state")
		if id, ok := options.Get("id"); ok && id.Integer() {
			e.ID = integerText(id)
		}
	}
	e.keys = [numKeys]string{
		keyType: typ, keyAction: e.Action, keyPool: e.Pool, keyID: e.ID, keySource: source,
		keyName: options.Text("name"), keyVeth: options.Text("veth"),
	}
	e.size = eventOverhead + len(typ) + len(source)
	for i := range options {
		// Twice: once as values, once in the encoding that is kept with them.
		e.size += 2 * (len(options[i].Name) + options[i].Value.size())
	}
	return e
}

// eventOverhead is about what an Event takes beside its options, in bytes.
const eventOverhead = 512

// integerText returns an integer as decimal text.
func integerText(v Value) string {
	switch v.kind { //nolint:exhaustive // the rest is unsigned
	case KindInt16, KindInt32, KindInt64:
		return strconv.FormatInt(v.Int(), 10)
	default:
		return strconv.FormatUint(v.Uint(), 10)
	}
}
