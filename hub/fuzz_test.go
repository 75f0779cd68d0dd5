package hub

import (
	"errors"
	"slices"
	"strconv"
	"testing"
)

func FuzzCursor(f *testing.F) {
	h := newHub(f, Config{History: 4})
	fill(f, h, 10)
	epoch := h.Status().Epoch
	for _, seed := range []string{
		"", "oldest", ":", "e:1", "0aF:18446744073709551615", "e:18446744073709551616", "e:01", "e:+1", "e:-1", "a:b:c", "\xff:1",
	} {
		f.Add(seed, uint64(7))
	}
	f.Fuzz(func(t *testing.T, cursor string, seq uint64) {
		got, number, err := ParseCursor(cursor)
		var invalid *InvalidCursorError
		switch {
		case err == nil && FormatCursor(got, number) != cursor:
			t.Errorf("%q became %q", cursor, FormatCursor(got, number))
		case err != nil && (!errors.As(err, &invalid) || invalid.Cursor != cursor || err.Error() == ""):
			t.Errorf("%q: %v", cursor, err)
		}
		// An invalid cursor is refused, one of another epoch is gone.
		var gone *GoneError
		_, subErr := h.Subscribe(Filter{}, cursor)
		switch {
		case cursor == "" || cursor == CursorOldest:
			if subErr != nil {
				t.Errorf("%q: %v", cursor, subErr)
			}
		case err != nil:
			if !errors.As(subErr, &invalid) {
				t.Errorf("%q: %v", cursor, subErr)
			}
		case got != epoch:
			if !errors.As(subErr, &gone) {
				t.Errorf("%q: %v", cursor, subErr)
			}
		}
		// In the hub's own epoch, the number decides.
		own := FormatCursor(epoch, seq)
		s, err := h.Subscribe(Filter{}, own)
		switch {
		case seq < 6:
			if !errors.As(err, &gone) {
				t.Errorf("%q: %v, want gone", own, err)
			}
		case seq > 10:
			if !errors.As(err, &invalid) {
				t.Errorf("%q: %v, want invalid", own, err)
			}
		default:
			if err != nil || s.Cursor() != own {
				t.Fatalf("%q: %v", own, err)
			}
			if n, err := s.Poll(make([]*Event, 8)); n != int(10-seq) || err != nil {
				t.Errorf("%q: read %d, %v", own, n, err)
			}
		}
	})
}

// source reads fuzzed bytes, and zeros after their end.
type source []byte

func (s *source) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *source) below(n int) int { return int(s.byte()) % n }

// pick returns n distinct numbers below limit, as texts.
func (s *source) pick(n, limit int) []string {
	start := s.below(limit)
	var values []string
	for i := range min(n, limit) {
		values = append(values, strconv.Itoa((start+i)%limit))
	}
	return values
}

// filterOf decodes a filter, and its values by key for the model.
func filterOf(t *testing.T, s *source) (f Filter, accepts [numKeys][]string) {
	keys := filterKeys()
	for i, key := range keys {
		if s.below(3) > 0 {
			continue
		}
		values := s.pick(1+s.below(30), 40)
		var err error
		if f, err = f.With(key, values...); err != nil {
			t.Fatal(err)
		}
		accepts[i] = values
	}
	return f, accepts
}

// The index must wake exactly the subscriptions whose filter passes an event.
func FuzzFilter(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{4, 8, 0, 9, 0, 0, 9, 0, 0, 9, 0})                                                    // 10*10*10 combinations
	f.Add([]byte{2, 0, 29, 0, 0, 29, 0, 0, 29, 0, 0, 29, 0, 0, 29, 0, 0, 29, 0, 0, 29, 0, 1, 1, 1})   // 30^7
	f.Add([]byte{3, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 7, 5, 0, 7, 3}) // 2^7, 8*8
	f.Add([]byte{0, 0, 29, 0, 0, 29, 0, 1, 1, 1, 1, 1, 28, 0, 3, 0, 0, 0, 0, 0})                      // found by type, not matched by action
	f.Add([]byte{7, 0, 0, 3, 1, 1, 1, 1, 1, 1, 0, 0, 3, 0, 0, 3, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := (*source)(&data)
		h, err := New(t.Context(), Config{History: 8})
		if err != nil {
			t.Fatal(err)
		}
		subs := make([]*Subscription, 1+s.below(8))
		accepts := make([][numKeys][]string, len(subs))
		for i := range subs {
			var filter Filter
			filter, accepts[i] = filterOf(t, s)
			subs[i] = subscribe(t, h, filter, "")
			if waiting, err := subs[i].startWaiting(); !waiting || err != nil || len(subs[i].entries) > maxEntries {
				t.Fatalf("startWaiting = %v, %v, %d entries", waiting, err, len(subs[i].entries))
			}
		}
		for range 12 {
			e := &Event{}
			base := s.byte() // equal keys are likely to match
			for i := range e.keys {
				e.keys[i] = strconv.Itoa(int(base+s.byte()%4) % 40)
			}
			commit(t, h, e)
			for i, sub := range subs {
				want := true
				for key, values := range accepts[i] {
					want = want && (values == nil || slices.Contains(values, e.keys[key]))
				}
				if got := sub.filter.Match(e); got != want {
					t.Fatalf("%q matches %q: %v, want %v", accepts[i], e.keys, got, want)
				}
				if sub.waiting == want || len(sub.woken) == 1 != want {
					t.Fatalf("%q waits %v with %d tokens after %q", accepts[i], sub.waiting, len(sub.woken), e.keys)
				}
				if !want {
					continue
				}
				<-sub.woken
				wantPoll(t, sub, 2, e.Seq)
				if waiting, err := sub.startWaiting(); !waiting || err != nil {
					t.Fatalf("startWaiting = %v, %v", waiting, err)
				}
			}
			checkIndex(t, h, subs...)
		}
	})
}
