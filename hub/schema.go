package hub

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The event types that have a schema. Any other type that matches
// [a-z][a-z0-9_]{0,63} is accepted without a schema.
const (
	TypeManagement = "management"      // a management command was received, finished, failed
	TypeState      = "state"           // a container changed state
	TypeDB         = "db"              // the database of the container manager changed
	TypeNetif      = "ct_netif"        // a container's network interface
	TypeInitPID    = "ct_init_pid"     // the container's init process was found
	TypeScheduled  = "ct_scheduled"    // the CPU scheduler placed the container
	TypeExit       = "ct_exit"         // the container ended
	TypeInfo       = "ct_info"         // the name of a container
	TypeHealth     = "ct_health"       // a health check of the container changed its result
	TypeOOM        = "osctl_oomd"      // the out-of-memory daemon acted
	TypeShutdown   = "osctld_shutdown" // the container manager is going down
)

// SourceNetlink is the source of events that the netlink watcher made.
const SourceNetlink = "netlink"

// SourceCgroup is the source of events about the cgroups of containers.
const SourceCgroup = "cgroup"

// rule is the rule of a schema for one option. It accepts the types that are set.
type rule struct {
	option   string
	optional bool
	onlyIf   string // required only when the event's action is this
	text     bool
	integer  bool // of any width
	dict     bool
	nonEmpty bool     // for texts
	maxBytes int      // of the text, 0 for any number
	oneOf    []string // the closed list of texts, nil for any
}

func text(option string, oneOf ...string) rule {
	return rule{option: option, text: true, oneOf: oneOf}
}

func nonEmptyText(option string) rule { return rule{option: option, text: true, nonEmpty: true} }

func limited(r rule, maxBytes int) rule {
	r.maxBytes = maxBytes
	return r
}

func integer(option string) rule { return rule{option: option, integer: true} }

func optional(r rule) rule {
	r.optional = true
	return r
}

// schemaOf returns the rules for the options of a type, nil if the type is unknown. They follow the
// Eventd of osctld, whose consumers must understand these events. No event of osctld is refused:
// testdata/osctld.jsonl has the lines that its classes produce. The option veth is optional, because
// osctld leaves it out when an interface is added or renamed.
func schemaOf(typ string) []rule {
	switch typ {
	case TypeManagement:
		return []rule{
			{option: "id", text: true, integer: true},
			text("cmd"),
			optional(rule{option: "opts", dict: true}),
			text("state", "run", "done", "failed"),
		}
	case TypeState:
		return []rule{nonEmptyText("pool"), nonEmptyText("id"), nonEmptyText("state"), optional(rule{option: "init_pid", text: true, integer: true})}
	case TypeDB:
		return []rule{
			text("object"), text("pool"), text("id"), // osctld has objects that it does not document
			text("action", "add", "remove"),
		}
	case TypeNetif:
		return []rule{
			text("pool"), text("id"), text("action", "add", "remove", "rename", "up", "down"), text("name"),
			{option: "new_name", text: true, onlyIf: "rename"},
			optional(text("veth")),
		}
	case TypeInitPID:
		return []rule{text("pool"), text("id"), integer("init_pid")}
	case TypeScheduled:
		return []rule{text("pool"), text("id"), integer("cpu_package_inuse")}
	case TypeExit:
		return []rule{text("pool"), text("id"), text("exit_type"), optional(integer("exit_code"))}
	case TypeInfo:
		return []rule{
			nonEmptyText("pool"), nonEmptyText("id"), limited(nonEmptyText("name"), MaxNameBytes), optional(limited(text("image"), MaxImageBytes)),
			optional(rule{option: "labels", dict: true}),
		}
	case TypeHealth:
		return []rule{nonEmptyText("pool"), nonEmptyText("id"), nonEmptyText("health")}
	case TypeOOM:
		return []rule{text("pool"), text("id"), text("action"), integer("time")}
	}
	return nil
}

// validate checks a whole event against the limits and its schema.
func validate(typ string, options Options) error {
	if !validName(typ, false) {
		return &InvalidEventError{Type: typ, Got: strconv.Quote(clip(typ)), Expected: "a type that matches [a-z][a-z0-9_]{0,63}"}
	}
	if len(options) > MaxOptions {
		return &TooLargeError{What: "options of one event", Got: len(options), Limit: MaxOptions}
	}
	if err := options.Check(typ); err != nil {
		return err
	}
	for _, r := range schemaOf(typ) {
		if err := r.check(typ, options); err != nil {
			return err
		}
	}
	return nil
}

// Check checks the names, nesting and texts of options, but not the schema of typ, for a client that
// leaves schemas to the service. The errors are those of [NewEvent].
func (o Options) Check(typ string) error {
	for i := range o {
		if err := validateOption(typ, o, i); err != nil {
			return err
		}
	}
	return nil
}

// validateOption checks one option against the rules for all types.
func validateOption(typ string, options Options, i int) error {
	o := &options[i]
	bad := func(got, expected string) error {
		return &InvalidEventError{Type: typ, Option: o.Name, Got: got, Expected: expected}
	}
	if !validName(o.Name, true) {
		return bad(strconv.Quote(clip(o.Name)), "an option name that matches [a-z][a-z0-9_-]{0,63}")
	}
	for j := range i {
		if options[j].Name == o.Name {
			return bad("it twice", "each option once")
		}
	}
	if o.Value.Depth(MaxNesting) > MaxNesting {
		return bad("deeper nesting", fmt.Sprintf("at most %d nested containers", MaxNesting))
	}
	if got, expected := checkValue(&o.Value); got != "" {
		return bad(got, expected)
	}
	return nil
}

// check applies one rule of a schema.
func (r *rule) check(typ string, options Options) error {
	v, ok := options.Get(r.option)
	bad := func(got, expected string) error {
		return &InvalidEventError{Type: typ, Option: r.option, Got: got, Expected: expected}
	}
	if !ok {
		if r.optional || r.onlyIf != "" && options.Text("action") != r.onlyIf {
			return nil
		}
		return bad("", r.expected())
	}
	switch {
	case r.text && v.kind == KindString:
		if r.oneOf != nil && !slices.Contains(r.oneOf, v.text) || r.nonEmpty && v.text == "" || r.maxBytes > 0 && len(v.text) > r.maxBytes {
			return bad(strconv.Quote(clip(v.text)), r.expected())
		}
	case r.integer && v.Integer(), r.dict && v.kind == KindDict:
	default:
		return bad(fmt.Sprintf("a value of type %q", clip(v.Type())), r.expected())
	}
	return nil
}

// expected describes the values that the rule accepts.
func (r *rule) expected() string {
	switch {
	case r.oneOf != nil:
		return "one of " + strings.Join(r.oneOf, ", ")
	case r.text && r.integer:
		return "a string (s) or an integer"
	case r.integer:
		return "an integer"
	case r.dict:
		return "a dict (a{sv})"
	case r.maxBytes > 0 && r.nonEmpty:
		return fmt.Sprintf("a string (s) of 1 to %d bytes", r.maxBytes)
	case r.maxBytes > 0:
		return fmt.Sprintf("a string (s) of at most %d bytes", r.maxBytes)
	case r.nonEmpty:
		return "a string (s) that is not empty"
	default:
		return "a string (s)"
	}
}

// validName reports whether s is a valid type, or with dash a valid option name.
func validName(s string, dash bool) bool {
	if s == "" || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', dash && c == '-':
		default:
			return false
		}
	}
	return true
}

// checkValue describes the first defect in v or a value inside it, and the expected value; "" if
// there is none.
func checkValue(v *Value) (got, expected string) {
	switch v.kind { //nolint:exhaustive // others are numbers, or checked through their items
	case KindInvalid:
		return "no value", "a value"
	case KindString, KindPath, KindSignature:
		const expected = "strings of valid UTF-8 without NUL"
		if !utf8.ValidString(v.text) {
			return "a string that is not UTF-8", expected
		}
		if strings.IndexByte(v.text, 0) >= 0 {
			return "a string with a NUL byte", expected
		}
	case KindDict:
		if key, twice := repeatedKey(v.inner.items); twice {
			return "the key " + clip(string(key.AppendJSON(nil))) + " twice", "each key of a dict once"
		}
	}
	if v.inner == nil {
		return "", ""
	}
	for i := range v.inner.items {
		if got, expected := checkValue(&v.inner.items[i]); got != "" {
			return got, expected
		}
	}
	return "", ""
}

// dictKey is a normalized key of a dict: equal keys have equal dictKeys.
type dictKey struct {
	bits uint64
	text string
}

// dictKeyOf normalizes a key. All NaNs are equal, because they look the same. 0.0 and -0.0 are equal,
// because most languages keep only one of them in a dict.
func dictKeyOf(v *Value) dictKey {
	if v.kind == KindDouble {
		switch f := math.Float64frombits(v.num); {
		case math.IsNaN(f):
			return dictKey{bits: math.Float64bits(math.NaN())}
		case f == 0:
			return dictKey{}
		}
	}
	return dictKey{bits: v.num, text: v.text}
}

// repeatedKey returns a key that a dict has twice. Its cost is linear in the number of keys.
func repeatedKey(items []Value) (key Value, twice bool) {
	seen := make(map[dictKey]struct{}, len(items)/2)
	for i := 0; i < len(items); i += 2 {
		seen[dictKeyOf(&items[i])] = struct{}{}
		if len(seen) <= i/2 {
			return items[i], true
		}
	}
	return Value{}, false
}
