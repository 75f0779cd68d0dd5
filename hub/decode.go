package hub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// maxStoredNesting is far above MaxNesting, so that the log of a version with a higher limit can be
// read.
const maxStoredNesting = 64

// unknownSource is the source of a binding in logs of earlier versions, which lack it.
const unknownSource = "unknown"

var errStored = errors.New("hub: stored record is malformed")

// storedReader decodes the stored form. After an error its methods return zero values. Texts share
// the memory of the record; events and views clone them.
type storedReader struct {
	rest    string
	bad     bool
	options Options // reused for each event
}

func (r *storedReader) fail() { r.bad, r.rest = true, "" }

func (r *storedReader) byte() byte {
	if r.rest == "" {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *storedReader) uvarint() uint64 {
	var n uint64
	for shift := uint(0); shift < 64; shift += 7 {
		c := r.byte()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	r.fail()
	return 0
}

func (r *storedReader) varint() int64 {
	n := r.uvarint()
	return int64(n>>1) ^ -int64(n&1) // zigzag, as binary.AppendVarint has it
}

// count reads the number of the following elements, which take at least one byte each.
func (r *storedReader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n) //nolint:gosec // bounded by a length
}

func (r *storedReader) text() string {
	n := r.count()
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// validText reads a text that goes to the bus. Logs of earlier versions may have invalid UTF-8.
func (r *storedReader) validText() string { return validText(r.text()) }

func (r *storedReader) value(nesting int) Value {
	kind := Kind(r.byte())
	switch kind {
	case KindBool, KindByte, KindUint16, KindUint32, KindUint64:
		return Value{kind: kind, num: r.uvarint()}
	case KindInt16, KindInt32, KindInt64:
		return Value{kind: kind, num: uint64(r.varint())} //nolint:gosec // the bits are kept
	case KindDouble:
		if len(r.rest) < 8 {
			break
		}
		bits := binary.LittleEndian.Uint64([]byte(r.rest[:8]))
		r.rest = r.rest[8:]
		return Value{kind: kind, num: bits}
	case KindString, KindPath, KindSignature:
		return Value{kind: kind, text: r.validText()}
	case KindBytes:
		return Value{kind: kind, text: r.text()}
	case KindArray, KindDict, KindStruct, KindVariant:
		if nesting < maxStoredNesting {
			return r.compound(kind, nesting)
		}
	case KindInvalid:
	}
	r.fail()
	return Value{}
}

func (r *storedReader) compound(kind Kind, nesting int) Value {
	typ := ""
	if kind == KindArray || kind == KindDict {
		typ = r.text()
	}
	items := make([]Value, r.count())
	for i := range items {
		if items[i] = r.value(nesting + 1); r.bad {
			return Value{}
		}
	}
	switch {
	case kind == KindStruct:
		return Struct(items)
	case kind == KindVariant && len(items) == 1:
		return Variant(items[0])
	case kind == KindArray && len(typ) > 1, kind == KindDict && len(typ) > 4 && len(items)%2 == 0:
		return Value{kind: kind, inner: &compound{typ: typ, items: items}}
	}
	r.fail()
	return Value{}
}

func (r *storedReader) event() *Event {
	typ, source := r.validText(), r.validText()
	r.options = r.options[:0]
	for range r.count() {
		option := Option{Name: r.validText()}
		if option.Value = r.value(0); r.bad {
			return nil
		}
		r.options = append(r.options, option)
	}
	return makeEvent(typ, r.options, source)
}

func (r *storedReader) ifindex() uint32 {
	n := r.uvarint()
	if n > math.MaxUint32 {
		r.fail()
	}
	return uint32(n) //nolint:gosec // checked
}

func (r *storedReader) iface() InterfaceChange {
	flags, ifindex := r.byte(), r.ifindex()
	c := InterfaceChange{Removed: flags&storedRemoved != 0, Interface: Interface{
		Ifindex: ifindex, Announced: flags&storedAnnounced != 0, Kept: flags&storedKept != 0,
	}}
	if c.Removed {
		return c
	}
	row := &c.Interface
	row.Veth, row.Name, row.Pool, row.ID = r.validText(), r.validText(), r.validText(), r.validText()
	row.State = LinkState(r.text())
	if flags&storedBound != 0 {
		row.BoundBy = unknownSource
	}
	if flags&storedBoundBy != 0 {
		row.BoundBy = r.validText()
	}
	if flags&storedSince != 0 {
		row.Since = time.UnixMicro(r.varint())
	}
	if flags&storedPeer != 0 {
		row.BoundPeer = r.ifindex()
	}
	if !slices.Contains([]LinkState{LinkUp, LinkNoCarrier, LinkDown}, row.State) {
		r.fail()
	}
	return c
}

// batch decodes a batch after its kind byte, into the memory of batch. The first event is number
// first.
func (r *storedReader) batch(batch *Batch, first uint64) {
	batch.Place = r.text()
	batch.Events, batch.Interfaces = batch.Events[:0], batch.Interfaces[:0]
	at := int64(0)
	for i := range r.count() {
		at += r.varint()
		e := r.event()
		if r.bad {
			return
		}
		e.Seq, e.Time = first+uint64(i), time.UnixMicro(at)
		batch.Events = append(batch.Events, e)
	}
	for range r.count() {
		batch.Interfaces = append(batch.Interfaces, r.iface())
		if r.bad {
			return
		}
	}
}

// snapshot decodes one part of a snapshot after its kind byte.
func (r *storedReader) snapshot() (part *snapshot, flags byte) {
	part = &snapshot{}
	flags = r.byte()
	part.place = r.text()
	part.interfaces = make([]Interface, r.count())
	for i := range part.interfaces {
		part.interfaces[i] = r.iface().Interface
	}
	part.containers = make([]*Container, r.count())
	for i := range part.containers {
		part.containers[i] = &Container{Pool: r.validText(), ID: r.validText(), State: r.validText(), Time: time.UnixMicro(r.varint())}
		if flags&withSources != 0 {
			part.containers[i].Source = r.validText()
		}
		if flags&withNames != 0 {
			part.containers[i].Name, part.containers[i].Image = r.validText(), r.validText()
		}
	}
	return part, flags
}

// end returns an error unless the record was decoded completely.
func (r *storedReader) end(record Record) error {
	if r.bad || r.rest != "" {
		return fmt.Errorf("%w: at event %d", errStored, record.First)
	}
	return nil
}
