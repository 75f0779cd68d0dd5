package hub

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

const (
	// CursorOldest is the position before the oldest event that is kept.
	CursorOldest = "oldest"
	// CursorNewest followed by a decimal number N is the position before the newest N events,
	// or before the oldest one if fewer are kept.
	CursorNewest = "newest-"
)

// NewEpoch returns a new random epoch: 128 bits in hex.
func NewEpoch() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return hex.EncodeToString(b[:])
}

// FormatCursor returns the cursor of the position after event seq.
func FormatCursor(epoch string, seq uint64) string {
	return epoch + ":" + strconv.FormatUint(seq, 10)
}

// ParseCursor splits a cursor into epoch and sequence number. The error is an
// [InvalidCursorError].
func ParseCursor(cursor string) (epoch string, seq uint64, err error) {
	epoch, number, ok := strings.Cut(cursor, ":")
	seq, valid := parseNumber(number)
	if !ok || !validEpoch(epoch) || !valid {
		const form = "not a cursor; expected EPOCH:SEQ as an earlier call returned it, %q, %qN, or nothing"
		return "", 0, &InvalidCursorError{Cursor: cursor, Reason: fmt.Sprintf(form, CursorOldest, CursorNewest)}
	}
	return epoch, seq, nil
}

// parseNumber parses a decimal number without a sign or leading zeros.
func parseNumber(text string) (n uint64, ok bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && text == strconv.FormatUint(n, 10)
}

// validEpoch reports whether s has the form of an epoch.
func validEpoch(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}

// position returns the number of the last event before the cursor. The caller holds the lock.
func (h *Hub) position(cursor string) (uint64, error) {
	switch cursor {
	case "":
		return h.last(), nil
	case CursorOldest:
		return h.first - 1, nil
	}
	if number, ok := strings.CutPrefix(cursor, CursorNewest); ok {
		if n, ok := parseNumber(number); ok {
			return h.last() - min(n, h.next-h.first), nil
		}
	}
	epoch, seq, err := ParseCursor(cursor)
	if err != nil {
		return 0, err
	}
	gone := func(reason string) error {
		return &GoneError{Cursor: cursor, Oldest: FormatCursor(h.epoch, h.first-1), Reason: reason}
	}
	switch {
	case epoch != h.epoch:
		return 0, gone("it is from another epoch")
	case seq > h.last():
		return 0, &InvalidCursorError{Cursor: cursor, Reason: fmt.Sprintf("the newest event is %d", h.last())}
	case seq+1 < h.first:
		return 0, gone(fmt.Sprintf("the oldest event kept is %d", h.first))
	}
	return seq, nil
}
