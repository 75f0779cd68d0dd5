package hub

import "encoding/binary"

// This file has the stored form of a commit. It keeps the exact types of all values, and is
// independent of the D-Bus wire format. Numbers are varints, texts follow their length. The log
// checks records for damage, but the decoder does not rely on that.
//
//	batch    = 'B' place events interfaces
//	events   = count { time-delta type source options }
//	options  = count { name value }
//	snapshot = 'S' flags place interfaces containers     one or more parts

const (
	recordBatch    = 'B'
	recordSnapshot = 'S'
)

// snapshotPart is the limit of rows in one part of a snapshot. Each part is a record.
const snapshotPart = 4096

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendBatch appends the stored form of a batch. The times are those of its events.
func appendBatch(b []byte, batch *Batch) []byte {
	b = append(b, recordBatch)
	b = appendText(b, batch.Place)
	b = binary.AppendUvarint(b, uint64(len(batch.Events)))
	before := int64(0)
	for _, e := range batch.Events {
		at := e.Time.UnixMicro()
		b = binary.AppendVarint(b, at-before)
		before = at
		b = appendText(b, e.Type)
		b = appendText(b, e.Source)
		b = binary.AppendUvarint(b, uint64(len(e.Options)))
		for i := range e.Options {
			b = appendText(b, e.Options[i].Name)
			b = appendValue(b, e.Options[i].Value)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(batch.Interfaces)))
	for i := range batch.Interfaces {
		c := &batch.Interfaces[i]
		b = appendInterface(b, &c.Interface, c.Removed)
	}
	return b
}

// Flags of a stored interface.
const (
	storedRemoved = 1 << iota
	storedAnnounced
	storedBound   // bound by an unknown source; only earlier versions wrote it
	storedBoundBy // a text follows
	storedSince   // a time follows, in microseconds
	storedPeer    // an ifindex follows
	storedKept
)

func appendInterface(b []byte, row *Interface, removed bool) []byte {
	flags := byte(0)
	if removed {
		flags |= storedRemoved
	}
	if row.Announced {
		flags |= storedAnnounced
	}
	if row.Kept {
		flags |= storedKept
	}
	if row.BoundBy != "" {
		flags |= storedBoundBy
	}
	if !row.Since.IsZero() {
		flags |= storedSince
	}
	if row.BoundPeer != 0 {
		flags |= storedPeer
	}
	b = binary.AppendUvarint(append(b, flags), uint64(row.Ifindex))
	if removed {
		return b
	}
	for _, text := range [...]string{row.Veth, row.Name, row.Pool, row.ID, string(row.State)} {
		b = appendText(b, text)
	}
	if row.BoundBy != "" {
		b = appendText(b, row.BoundBy)
	}
	if !row.Since.IsZero() {
		b = binary.AppendVarint(b, row.Since.UnixMicro())
	}
	if row.BoundPeer != 0 {
		b = binary.AppendUvarint(b, uint64(row.BoundPeer))
	}
	return b
}

func appendValue(b []byte, v Value) []byte {
	b = append(b, byte(v.kind))
	switch v.kind {
	case KindInvalid:
	case KindBool, KindByte, KindUint16, KindUint32, KindUint64:
		b = binary.AppendUvarint(b, v.num)
	case KindInt16, KindInt32, KindInt64:
		b = binary.AppendVarint(b, int64(v.num)) //nolint:gosec // the bits are kept
	case KindDouble:
		b = binary.LittleEndian.AppendUint64(b, v.num)
	case KindString, KindPath, KindSignature, KindBytes:
		b = appendText(b, v.text)
	case KindArray, KindDict:
		b = appendText(b, v.inner.typ)
		fallthrough
	case KindStruct, KindVariant:
		b = binary.AppendUvarint(b, uint64(len(v.inner.items)))
		for i := range v.inner.items {
			b = appendValue(b, v.inner.items[i])
		}
	}
	return b
}

// Flags of a part of a snapshot.
const (
	firstPart = 1 << iota
	lastPart
	withSources // containers have a source
	withNames   // containers have a name and an image, maybe empty
)

// appendSnapshot appends one part of a snapshot.
func appendSnapshot(b []byte, part *snapshot, flags byte) []byte {
	b = append(b, recordSnapshot, flags|withSources|withNames)
	b = appendText(b, part.place)
	b = binary.AppendUvarint(b, uint64(len(part.interfaces)))
	for i := range part.interfaces {
		b = appendInterface(b, &part.interfaces[i], false)
	}
	b = binary.AppendUvarint(b, uint64(len(part.containers)))
	for _, c := range part.containers {
		b = appendText(appendText(appendText(b, c.Pool), c.ID), c.State)
		b = binary.AppendVarint(b, c.Time.UnixMicro())
		b = appendText(appendText(appendText(b, c.Source), c.Name), c.Image)
	}
	return b
}
