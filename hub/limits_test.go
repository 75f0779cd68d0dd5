package hub

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestTypeNames(t *testing.T) {
	for _, good := range []string{"a", "z9", "a_b", strings.Repeat("x", 64)} {
		if _, err := NewEvent(good, nil, ""); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "A", "9a", "_a", "{a", "`a", "a-b", "a.b", "aB", "ä", "a ", "a\n", "a\x00", "a\xff", "a`", "a{", "a/", "a:", strings.Repeat("x", 65)} {
		wantInvalid(t, bad, nil, InvalidEventError{Type: bad, Got: strconv.Quote(bad), Expected: "a type that matches [a-z][a-z0-9_]{0,63}"})
	}
}

func TestOptionNames(t *testing.T) {
	for _, good := range []string{"a", "z9", "a_b", "a-b", "a-", strings.Repeat("x", 64)} {
		newEvent(t, "open", opt(good, ""))
	}
	for _, bad := range []string{"", "A", "9a", "-a", "_a", "{a", "`a", "a.b", "aB", "ä", "a\x00", strings.Repeat("x", 65)} {
		wantInvalid(t, "open", Options{opt(bad, "")}, InvalidEventError{
			Type: "open", Option: bad, Got: strconv.Quote(bad), Expected: "an option name that matches [a-z][a-z0-9_-]{0,63}",
		})
	}
}

func TestLongNamesAreClippedInMessages(t *testing.T) {
	long := strings.Repeat("Z", 1<<20)
	for _, err := range []error{
		func() error { _, err := NewEvent(long, nil, ""); return err }(),
		func() error { _, err := NewEvent("open", Options{opt(long, "")}, ""); return err }(),
		func() error {
			_, err := NewEvent("db", opts("object", long, "pool", "", "id", "", "action", ""), "")
			return err
		}(),
		func() error { _, err := (&Filter{}).With(long, "x"); return err }(),
		func() error { _, _, err := ParseCursor(long); return err }(),
	} {
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("the message has %d bytes, want at most 1000", len(fmt.Sprint(err)))
		}
	}
}

func TestOptionCount(t *testing.T) {
	var o Options
	for i := range MaxOptions {
		o = append(o, opt("o"+strconv.Itoa(i), ""))
	}
	if _, err := NewEvent("open", o, ""); err != nil {
		t.Error(err)
	}
	_, err := NewEvent("open", append(o, opt("more", "")), "")
	var large *TooLargeError
	if !errors.As(err, &large) || large.Got != 65 || large.Limit != 64 {
		t.Errorf("error is %v, want a TooLargeError of 65 over 64", err)
	}
	if want := "too large: 65 options of one event, the limit is 64"; fmt.Sprint(err) != want {
		t.Errorf("message is %q, want %q", err, want)
	}
}

func TestDuplicateOption(t *testing.T) {
	wantInvalid(t, "open", Options{opt("a", "1"), opt("b", ""), opt("a", "2")}, InvalidEventError{
		Type: "open", Option: "a", Got: "it twice", Expected: "each option once",
	})
}

func TestNesting(t *testing.T) {
	wrap := map[string]func(Value) Value{
		"array":   func(v Value) Value { return Array(v.Type(), []Value{v}) },
		"dict":    func(v Value) Value { return Dict("s", v.Type(), []Value{String("x"), v}) },
		"struct":  func(v Value) Value { return Struct([]Value{Bool(true), v}) },
		"variant": Variant,
	}
	for name, wrap := range wrap {
		for _, inner := range []Value{String("x"), Strings("x"), Bytes([]byte("x")), Array("s", nil)} {
			v := inner
			for v.Depth(100) < 8 {
				v = wrap(v)
			}
			if _, err := NewEvent("open", Options{{"o", v}}, ""); err != nil {
				t.Errorf("8 of %s around %s: %v", name, inner.Type(), err)
			}
			wantInvalid(t, "open", Options{{"o", wrap(v)}}, InvalidEventError{
				Type: "open", Option: "o", Got: "deeper nesting", Expected: "at most 8 nested containers",
			})
		}
	}
	if got := nested(1000).Depth(MaxNesting); got != MaxNesting+1 {
		t.Errorf("Depth of 1,000 nested arrays is %d, want %d", got, MaxNesting+1)
	}
}

func TestInvalidTextIsRefused(t *testing.T) {
	places := map[string]func(Value) Value{
		"plain":   func(v Value) Value { return v },
		"array":   func(v Value) Value { return Array(v.Type(), []Value{{kind: v.kind, text: "good"}, v}) },
		"key":     func(v Value) Value { return Dict(v.Type(), "u", []Value{v, Uint32(1)}) },
		"value":   func(v Value) Value { return Dict("u", v.Type(), []Value{Uint32(1), v}) },
		"struct":  func(v Value) Value { return Struct([]Value{Bool(true), v}) },
		"variant": func(v Value) Value { return Variant(Variant(v)) },
	}
	for name, place := range places {
		for _, kind := range []Kind{KindString, KindPath, KindSignature} {
			for text, problem := range map[string]string{
				"a\xff": "a string that is not UTF-8", "\xed\xa0\x80": "a string that is not UTF-8",
				"\x00": "a string with a NUL byte", "ab\x00": "a string with a NUL byte",
			} {
				t.Run(fmt.Sprintf("%s %d %q", name, kind, text), func(t *testing.T) {
					wantInvalid(t, "open", Options{{"o", place(Value{kind: kind, text: text})}}, InvalidEventError{
						Type: "open", Option: "o", Got: problem, Expected: "strings of valid UTF-8 without NUL",
					})
				})
			}
		}
		newEvent(t, "open", Option{"o", place(Bytes([]byte("\x00\xff")))}, Option{"p", place(String("žluťoučký \U0001f40e"))})
	}
	for _, v := range []Value{{}, Variant(Value{}), Array("s", []Value{{}}), Number(KindString, 1), Number(KindBool, 1)} {
		wantInvalid(t, "open", Options{{"o", v}}, InvalidEventError{
			Type: "open", Option: "o", Got: "no value", Expected: "a value",
		})
	}
}

// A dict with a repeated key is refused at any depth, because readers differ in which one they keep.
func TestRepeatedKeys(t *testing.T) {
	double := func(f float64) Value { return Number(KindDouble, math.Float64bits(f)) }
	nan := Number(KindDouble, math.Float64bits(math.NaN())^1)
	many := func(repeat bool) Value {
		var items []Value
		for i := range 4096 {
			items = append(items, String(strconv.Itoa(i)), Bool(true))
		}
		if repeat {
			items = append(items, String("2048"), Bool(true))
		}
		return Dict("s", "b", items)
	}
	for name, c := range map[string]struct {
		dict Value
		key  string // the repeated key; "" for none
	}{
		"texts":      {Dict("s", "u", []Value{String("a"), Uint32(1), String("b"), Uint32(2), String("a"), Uint32(1)}), `"a"`},
		"other case": {Dict("s", "u", []Value{String("a"), Uint32(1), String("A"), Uint32(2)}), ""},
		"numbers":    {Dict("i", "u", []Value{Int32(-1), Uint32(1), Int32(1), Uint32(2), Int32(-1), Uint32(3)}), "-1"},
		"booleans":   {Dict("b", "u", []Value{Bool(false), Uint32(1), Bool(true), Uint32(2)}), ""},
		"NaN":        {Dict("d", "u", []Value{double(math.NaN()), Uint32(1), nan, Uint32(2)}), `"NaN"`},
		"zeros":      {Dict("d", "u", []Value{double(0), Uint32(1), double(math.Copysign(0, -1)), Uint32(2)}), "-0.0"},
		"doubles":    {Dict("d", "u", []Value{double(1), Uint32(1), double(-1), Uint32(2), double(math.Inf(1)), Uint32(2)}), ""},
		"many":       {many(false), ""},
		"many, one":  {many(true), `"2048"`},
	} {
		for depth, v := range []Value{c.dict, Variant(c.dict), Array(c.dict.Type(), []Value{Dict("s", "u", nil), c.dict}), Dict("s", "v", []Value{String("x"), Variant(Struct([]Value{c.dict}))})} {
			options := Options{{"o", v}}
			if c.key == "" {
				if _, err := NewEvent("open", options, ""); err != nil {
					t.Errorf("%s, %d: %v", name, depth, err)
				}
				continue
			}
			wantInvalid(t, "open", options, InvalidEventError{Type: "open", Option: "o", Got: "the key " + c.key + " twice", Expected: "each key of a dict once"})
		}
	}
}
