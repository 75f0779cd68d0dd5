package hub

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

// shape is a type of values to generate.
type shape struct {
	kind   Kind
	inside []shape
}

func (s *source) shape(depth int) shape {
	kind := Kind(1 + s.below(int(KindVariant)))
	sh := shape{kind: kind}
	n := 0
	switch {
	case depth <= 0 && kind > KindBytes:
		return shape{kind: KindString}
	case kind == KindArray || kind == KindVariant:
		n = 1
	case kind == KindDict:
		sh.inside = []shape{{kind: Kind(1 + s.below(int(KindSignature)))}}
		n = 1
	case kind == KindStruct:
		n = 1 + s.below(3)
	}
	for range n {
		sh.inside = append(sh.inside, s.shape(depth-1))
	}
	if kind == KindArray && sh.inside[0].kind == KindByte {
		return shape{kind: KindBytes}
	}
	return sh
}

func (s *source) text() string {
	words := [...]string{"", "x", "password", "API-Key", "hunter2", "é\u2028\U0001f40e", "<&>\"\\\n", "\x01", "pool", "id", "\x00", "\xff", "running", "up"}
	return words[s.below(len(words))]
}

// value generates a value of a shape. Rarely, it is a value that no bus would deliver.
func (s *source) value(sh shape) Value {
	wild := s.byte() == 255
	switch kind := sh.kind; {
	case wild:
		odd := [...]Value{{}, Variant(Value{}), Struct(nil), Dict("s", "v", []Value{String("token")}), Array("s", []Value{Bool(true), {}}), Number(0, 1), Path("")}
		return odd[s.below(len(odd))]
	case kind == KindBool:
		return Bool(s.byte()%2 == 1)
	case kind >= KindByte && kind <= KindDouble:
		bits := uint64(0)
		for range 8 {
			bits = bits<<8 | uint64(s.byte())
		}
		return Number(kind, bits)
	case kind <= KindBytes:
		return Value{kind: kind, text: s.text()}
	case kind == KindVariant:
		return Variant(s.value(sh.inside[0]))
	case kind == KindStruct:
		var fields []Value
		for _, field := range sh.inside {
			fields = append(fields, s.value(field))
		}
		return Struct(fields)
	case kind == KindDict:
		var items []Value
		for range s.below(4) {
			items = append(items, s.value(sh.inside[0]), s.value(sh.inside[1]))
		}
		return Dict(sh.inside[0].typ(), sh.inside[1].typ(), items)
	default:
		var items []Value
		for range s.below(4) {
			items = append(items, s.value(sh.inside[0]))
		}
		return Array(sh.inside[0].typ(), items)
	}
}

func (sh shape) typ() string {
	var inside string
	for i := range sh.inside {
		inside += sh.inside[i].typ()
	}
	switch sh.kind { //nolint:exhaustive // the rest has no inside
	case KindVariant:
		return "v"
	case KindArray:
		return "a" + inside
	case KindDict:
		return "a{" + inside + "}"
	case KindStruct:
		return "(" + inside + ")"
	}
	return Value{kind: sh.kind}.Type()
}

// unredacted returns a part of a secret value that was not redacted, "" if there is none.
func unredacted(v Value) string {
	switch {
	case v.num != 0, v.text != "" && v.text != Redacted && v.text != "/":
		return string(v.AppendJSON(nil))
	}
	for _, item := range v.Items() {
		if leak := unredacted(item); leak != "" {
			return leak
		}
	}
	return ""
}

// findLeak returns an unredacted value under a secret key of a dict in v, "" if there is none.
func findLeak(v Value) string {
	items := v.Items()
	for i := range items {
		leak := findLeak(items[i])
		if v.kind == KindDict && i%2 == 1 && looksSecret(items[i-1].text) {
			leak = unredacted(items[i])
		}
		if leak != "" {
			return leak
		}
	}
	return ""
}

func FuzzOptions(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x02abcdefgh"))
	for kind := range byte(KindVariant) {
		f.Add([]byte{9, 2, 1, kind, 15, kind, 3, 2, 1, 0, 3, 2, 2, 4, 0, 3, 4})
	}
	f.Add([]byte{0, 3, 1, 15, 9, 16, 9, 0, 3, 0, 2, 0, 0, 4, 0, 3, 0, 0, 4}) // a{sv} with a password
	f.Fuzz(func(t *testing.T, data []byte) {
		s := (*source)(&data)
		types := [...]string{"open", "management", "state", "db", "ct_netif", "ct_init_pid", "osctl_oomd", "osctld_shutdown", "", "Bad"}
		names := [...]string{"id", "pool", "state", "action", "name", "opts", "cmd", "object", "password", "x-1", "init_pid", "veth", "time", "", "Bad"}
		typ := types[s.below(len(types))]
		var o, before Options
		for range s.below(10) {
			v := s.value(s.shape(10))
			o = append(o, Option{names[s.below(len(names))], v})
		}
		before = slices.Clone(o)
		e, err := NewEvent(typ, o, "fuzz")
		if err != nil {
			var invalid *InvalidEventError
			if !errors.As(err, &invalid) || e != nil || err.Error() == "" {
				t.Errorf("NewEvent = %v, %v", e, err)
			}
			return
		}
		line := e.AppendJSON(nil, "epoch")
		var parsed struct {
			Type string                     `json:"type"`
			Opts map[string]json.RawMessage `json:"opts"`
		}
		if err := json.Unmarshal(line, &parsed); err != nil || parsed.Type != typ || len(parsed.Opts) != len(o) {
			t.Errorf("JSON %s: %v", line, err)
		}
		for i, option := range e.Options {
			v := option.Value
			if looksSecret(option.Name) {
				if !sameValue(v, String(Redacted)) {
					t.Errorf("option %s is %s", option.Name, v.AppendJSON(nil))
				}
				continue
			}
			if v.Type() != before[i].Value.Type() {
				t.Errorf("redaction changed the type %q to %q", before[i].Value.Type(), v.Type())
			}
			if leak := findLeak(v); leak != "" {
				t.Errorf("option %s leaks %s", option.Name, leak)
			}
			if !sameValue(Redact(v), v) {
				t.Errorf("option %s: a second redaction changes %s", option.Name, v.AppendJSON(nil))
			}
			if v.Depth(MaxNesting) > MaxNesting {
				t.Errorf("option %s: nested too deeply", option.Name)
			}
		}
		commit(t, newHub(t, Config{History: 1}), e)
	})
}
