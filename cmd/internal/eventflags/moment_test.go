package eventflags

import (
	"strings"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 22, 15, 4, 5, 0, time.Local)
	for text, want := range map[string]Moment{
		"oldest":                              {Cursor: "oldest"},
		"0123456789abcdef0123456789abcdef:42": {Cursor: "0123456789abcdef0123456789abcdef:42"},
		"10m":                                 {Time: now.Add(-10 * time.Minute)},
		"1h30m":                               {Time: now.Add(-90 * time.Minute)},
		"1w":                                  {Time: now.Add(-168 * time.Hour)},
		"1w1d":                                {Time: now.Add(-192 * time.Hour)},
		"1d12h":                               {Time: now.Add(-36 * time.Hour)},
		"now":                                 {Time: now},
		"today":                               {Time: time.Date(2026, 11, 22, 0, 0, 0, 0, time.Local)},
		"yesterday":                           {Time: time.Date(2026, 11, 21, 0, 0, 0, 0, time.Local)},
		"@1785000000":                         {Time: time.Unix(1785000000, 0)},
		"2d":                                  {Time: now.Add(-48 * time.Hour)},
		"+90s":                                {Time: now.Add(90 * time.Second)},
		"14:30":                               {Time: time.Date(2026, 11, 22, 14, 30, 0, 0, time.Local)},
		"14:30:15.5":                          {Time: time.Date(2026, 11, 22, 14, 30, 15, 500_000_000, time.Local)},
		"2026-11-21":                          {Time: time.Date(2026, 11, 21, 0, 0, 0, 0, time.Local)},
		"2026-11-21 09:08":                    {Time: time.Date(2026, 11, 21, 9, 8, 0, 0, time.Local)},
		"2026-11-21 09:08:07":                 {Time: time.Date(2026, 11, 21, 9, 8, 7, 0, time.Local)},
		"2026-11-21T09:08:07.123456Z":         {Time: time.Date(2026, 11, 21, 9, 8, 7, 123_456_000, time.UTC)},
	} {
		if got, err := ParseMoment(text, now); err != nil || got.Cursor != want.Cursor || !got.Time.Equal(want.Time) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "soon", "-5m", "+", "+oldest", "5", "d", "-1d", "1d5", "1d1w", "1d-5m", "@", "@-1", "@x", "9999999w", "8191w2000000h", "2026-13-01", "25:00", "a b:5", ":5"} {
		if got, err := ParseMoment(bad, now); err == nil || !strings.Contains(err.Error(), "expected a cursor") {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}
