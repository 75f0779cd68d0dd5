package hub

import (
	"strings"
	"unicode/utf8"
)

// The hub clones events, rows of the views and filters. A string from a message is part of that
// message, so one short string would keep all of it in memory, replaced secrets included. The texts
// of one event are cloned into one string, because they are freed together.

// Sizes of the parts of an event, in bytes; a test compares them with the types.
const (
	eventBytes    = 280
	optionBytes   = 56
	valueBytes    = 40
	compoundBytes = 40
)

// textArena clones texts into one string.
type textArena struct{ buf strings.Builder }

// clone returns a copy of s. The caller has grown buf to the size of all texts; otherwise earlier
// copies would keep another string in memory.
func (a *textArena) clone(s string) string {
	at := a.buf.Len()
	a.buf.WriteString(s)
	return a.buf.String()[at:]
}

// cloneTexts replaces texts by copies that are parts of one new string.
func cloneTexts(texts ...*string) {
	total := 0
	for _, s := range texts {
		total += len(*s)
	}
	var arena textArena
	arena.buf.Grow(total)
	for _, s := range texts {
		*s = arena.clone(*s)
	}
}

// validText returns s if it is valid UTF-8, and otherwise s escaped by [PlainText].
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return PlainText([]byte(s), 4*len(s))
}

// footprint counts the memory that the options of an event take.
type footprint struct {
	texts     int // bytes
	values    int // elements of other values
	compounds int
	encoded   int    // bytes of the encoding that is kept with the event, at most
	lastType  string // repeated types share one text
}

func (f *footprint) text(s string) {
	f.texts += len(s)
	f.encoded += 8 + len(s) // its length, a NUL, padding
}

func (f *footprint) options(options Options) {
	for i := range options {
		f.text(options[i].Name)
		f.encoded += 7 + 2 // padding of an entry; the signature of its variant
		f.value(&options[i].Value)
		f.encoded += len(options[i].Value.Type())
	}
}

func (f *footprint) value(v *Value) {
	switch v.kind {
	case KindInvalid:
	case KindByte:
		f.encoded++
	case KindInt16, KindUint16:
		f.encoded += 2
	case KindBool, KindInt32, KindUint32:
		f.encoded += 4
	case KindInt64, KindUint64, KindDouble:
		f.encoded += 8
	case KindString, KindPath, KindSignature, KindBytes:
		f.text(v.text)
	case KindArray, KindDict, KindStruct, KindVariant:
		f.compound(v.kind, v.inner)
	}
}

func (f *footprint) compound(kind Kind, c *compound) {
	f.compounds++
	f.values += len(c.items)
	switch kind { //nolint:exhaustive // the rest is not compound
	case KindVariant:
		f.encoded += 7 + 2 + len(c.items[0].Type())
	case KindDict:
		f.encoded += 7 + 7*len(c.items)/2
	default:
		f.encoded += 7
	}
	if c.typ != f.lastType {
		f.lastType = c.typ
		f.texts += len(c.typ)
	}
	for i := range c.items {
		f.value(&c.items[i])
	}
}

// optionCloner copies the options of an event into memory of the size of their footprint.
type optionCloner struct {
	texts     textArena
	values    []Value
	compounds []compound
	lastType  string
}

// grow allocates the memory for a footprint.
func (k *optionCloner) grow(f *footprint) {
	k.texts.buf.Grow(f.texts)
	if f.compounds > 0 {
		k.values, k.compounds = make([]Value, 0, f.values), make([]compound, 0, f.compounds)
	}
}

func (k *optionCloner) options(options Options) Options {
	kept := make(Options, len(options))
	for i := range options {
		kept[i] = Option{Name: k.texts.clone(options[i].Name), Value: k.value(&options[i].Value)}
	}
	return kept
}

func (k *optionCloner) value(v *Value) Value {
	if v.inner == nil {
		return Value{kind: v.kind, num: v.num, text: k.texts.clone(v.text)}
	}
	if v.inner.typ != k.lastType {
		k.lastType = k.texts.clone(v.inner.typ)
	}
	at := len(k.values)
	k.values = append(k.values, v.inner.items...) // each is replaced by its copy below
	items := k.values[at:len(k.values):len(k.values)]
	k.compounds = append(k.compounds, compound{typ: k.lastType, items: items})
	kept := Value{kind: v.kind, inner: &k.compounds[len(k.compounds)-1]}
	for i := range items {
		items[i] = k.value(&items[i])
	}
	return kept
}

// size returns the memory of an event with so many options and this footprint, in bytes,
// approximately.
func (f *footprint) size(options int) int {
	return heapSize(eventBytes) + heapSize(options*optionBytes) + heapSize(f.texts) + heapSize(f.values*valueBytes) +
		heapSize(f.compounds*compoundBytes) + heapSize(f.encoded)
}

// heapSize returns how much of the heap an allocation of n bytes takes, approximately. The allocator
// rounds small sizes up by an eighth at most, large ones to whole pages.
func heapSize(n int) int {
	const small, page = 32 << 10, 8 << 10
	if n > small {
		return (n + page - 1) &^ (page - 1)
	}
	return n + n/8
}
