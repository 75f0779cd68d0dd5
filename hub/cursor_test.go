package hub

import (
	"errors"
	"strings"
	"testing"
)

func TestParseCursor(t *testing.T) {
	for cursor, want := range map[string]struct {
		epoch string
		seq   uint64
	}{
		"e:0": {"e", 0}, "0aF-z:42": {"0aF-z", 42}, "x:18446744073709551615": {"x", 1<<64 - 1},
		strings.Repeat("a", 64) + ":1": {strings.Repeat("a", 64), 1},
	} {
		epoch, seq, err := ParseCursor(cursor)
		if err != nil || epoch != want.epoch || seq != want.seq {
			t.Errorf("ParseCursor(%q) = %q, %d, %v", cursor, epoch, seq, err)
		}
		if FormatCursor(epoch, seq) != cursor {
			t.Errorf("%q became %q", cursor, FormatCursor(epoch, seq))
		}
	}
	for _, bad := range []string{
		"", "oldest", "e", ":", ":1", "e:", "e:-1", "e:+1", "e:01", "e:1 ", " e:1", "e:1:2", "e::1", "e:0x1", "e:1_0", "e:1e3",
		"e:18446744073709551616", "ä:1", "e\x00:1", "e_:1", "e/:1", "e\xff:1", strings.Repeat("a", 65) + ":1", "e:" + strings.Repeat("0", 100), "e:９",
	} {
		_, _, err := ParseCursor(bad)
		var invalid *InvalidCursorError
		if !errors.As(err, &invalid) || invalid.Cursor != bad || !strings.Contains(err.Error(), "EPOCH:SEQ") {
			t.Errorf("ParseCursor(%q): %v, want an InvalidCursorError", bad, err)
		}
	}
}

func TestEpochs(t *testing.T) {
	a, b := NewEpoch(), NewEpoch()
	if a == b || len(a) != 32 || !validEpoch(a) {
		t.Errorf("epochs are %q, %q", a, b)
	}
}

func TestSubscribeAtCursor(t *testing.T) {
	h := newHub(t, Config{History: 4})
	epoch := h.Status().Epoch
	at := func(seq uint64) string { return FormatCursor(epoch, seq) }

	// Without events all of these are the same position.
	for _, cursor := range []string{"", CursorOldest, "newest-0", "newest-7", at(0)} {
		s := subscribe(t, h, Filter{}, cursor)
		wantPosition(t, s, 0)
		if s.Cursor() != at(0) {
			t.Errorf("cursor is %q, want %q", s.Cursor(), at(0))
		}
	}
	fill(t, h, 10) // keeps 7, 8, 9, 10
	for cursor, want := range map[string][]uint64{
		"newest-0": {}, "newest-1": {10}, "newest-3": {8, 9, 10}, "newest-4": {7, 8, 9, 10}, "newest-5": {7, 8, 9, 10}, "newest-18446744073709551615": {7, 8, 9, 10},
		"": {}, CursorOldest: {7, 8, 9, 10}, at(6): {7, 8, 9, 10}, at(7): {8, 9, 10}, at(9): {10}, at(10): {},
	} {
		wantPoll(t, subscribe(t, h, Filter{}, cursor), 8, want...)
	}
	for _, seq := range []uint64{5, 4, 1, 0} {
		_, err := h.Subscribe(Filter{}, at(seq))
		var gone *GoneError
		if !errors.As(err, &gone) || gone.Cursor != at(seq) || gone.Oldest != at(6) {
			t.Errorf("from %d: %v, want a GoneError with the oldest at 6", seq, err)
		} else if !strings.Contains(err.Error(), "the oldest event kept is 7") || !strings.Contains(err.Error(), at(6)) {
			t.Errorf("message is %q", err)
		}
	}
	for _, seq := range []uint64{11, 12, 1<<64 - 2, 1<<64 - 1} {
		_, err := h.Subscribe(Filter{}, at(seq))
		var invalid *InvalidCursorError
		if !errors.As(err, &invalid) || invalid.Reason != "the newest event is 10" {
			t.Errorf("from %d: %v, want an InvalidCursorError", seq, err)
		}
	}
	for _, seq := range []string{"0", "8", "99"} {
		_, err := h.Subscribe(Filter{}, "other:"+seq)
		var gone *GoneError
		if !errors.As(err, &gone) || gone.Reason != "it is from another epoch" || gone.Oldest != at(6) {
			t.Errorf("from another epoch: %v, want a GoneError", err)
		}
	}
	for _, bad := range []string{"Oldest", "newest", "newest-", "newest--1", "newest-01", "newest-x", "newest-18446744073709551616", ":7", epoch, epoch + ":", epoch + ":x"} {
		_, err := h.Subscribe(Filter{}, bad)
		if _, ok := errors.AsType[*InvalidCursorError](err); !ok {
			t.Errorf("from %q: %v, want an InvalidCursorError", bad, err)
		}
	}
}

func TestCursorGoesOn(t *testing.T) {
	h := newHub(t, Config{})
	s := subscribe(t, h, Filter{}, CursorOldest)
	fill(t, h, 5)
	wantPoll(t, s, 2, 1, 2)
	wantPoll(t, subscribe(t, h, Filter{}, s.Cursor()), 9, 3, 4, 5)
	status := h.Status()
	if status.Cursor() != FormatCursor(status.Epoch, 5) || status.Oldest != 1 || status.Last != 5 {
		t.Errorf("status is %+v", status)
	}
}
