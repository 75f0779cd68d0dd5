package hub

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// timeFormat is RFC 3339 in UTC with microseconds, always six digits.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// AppendJSON appends an event as one JSON object without a line break. Its keys
// type and opts are what `osctl -j monitor` prints; seq, time, source and cursor
// follow. The epoch is that of the event's hub.
func (e *Event) AppendJSON(b []byte, epoch string) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, e.Type)
	b = append(b, `,"opts":`...)
	b = e.Options.AppendJSON(b)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, timeFormat)
	b = append(b, `","source":`...)
	b = appendString(b, e.Source)
	b = append(b, `,"cursor":"`...)
	b = append(append(b, epoch...), ':') // see FormatCursor
	b = strconv.AppendUint(b, e.Seq, 10)
	return append(b, `"}`...)
}

// AppendJSON appends the options as one JSON object, in their order.
func (o Options) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	for i := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, o[i].Name)
		b = append(b, ':')
		b = o[i].Value.AppendJSON(b)
	}
	return append(b, '}')
}

// AppendJSON appends a value as JSON: integers stay integers of all 64 bits, ay
// becomes base64, structs become arrays, variants their content, dicts objects
// with their keys as text. A double has a point or an exponent, like 1.0, so
// that it differs from an integer; NaN and infinity become strings.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(b, v.num != 0)
	case KindByte, KindUint16, KindUint32, KindUint64:
		return strconv.AppendUint(b, v.num, 10)
	case KindInt16, KindInt32, KindInt64:
		return strconv.AppendInt(b, v.Int(), 10)
	case KindDouble:
		return appendDouble(b, math.Float64frombits(v.num))
	case KindString, KindPath, KindSignature:
		return appendString(b, v.text)
	case KindBytes:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, []byte(v.text))
		return append(b, '"')
	case KindVariant:
		return v.inner.items[0].AppendJSON(b)
	case KindArray, KindStruct:
		b = append(b, '[')
		for i := range v.inner.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.inner.items[i].AppendJSON(b)
		}
		return append(b, ']')
	case KindDict:
		return v.appendDict(b)
	case KindInvalid:
	}
	return append(b, "null"...)
}

func (v Value) appendDict(b []byte) []byte {
	b = append(b, '{')
	for i := 0; i+1 < len(v.inner.items); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		key := v.inner.items[i]
		if key.kind == KindString || key.kind == KindPath || key.kind == KindSignature {
			b = appendString(b, key.text)
		} else {
			b = appendString(b, strings.Trim(string(key.AppendJSON(nil)), `"`)) // NaN is quoted
		}
		b = append(b, ':')
		b = v.inner.items[i+1].AppendJSON(b)
	}
	return append(b, '}')
}

func appendDouble(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return appendString(b, strconv.FormatFloat(f, 'g', -1, 64))
	}
	from := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !bytes.ContainsAny(b[from:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

// Micros returns a time as microseconds since 1970, 0 for earlier times. It is
// the form of times on the wire.
func Micros(t time.Time) uint64 { return uint64(max(t.UnixMicro(), 0)) }
