package main

import (
	"strings"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 22, 15, 4, 5, 0, time.Local)
	for text, want := range map[string]moment{
		"oldest":                              {cursor: "oldest"},
		"0123456789abcdef0123456789abcdef:42": {cursor: "0123456789abcdef0123456789abcdef:42"},
		"10m":                                 {time: now.Add(-10 * time.Minute)},
		"1h30m":                               {time: now.Add(-90 * time.Minute)},
		"1w":                                  {time: now.Add(-168 * time.Hour)},
		"1w1d":                                {time: now.Add(-192 * time.Hour)},
		"1d12h":                               {time: now.Add(-36 * time.Hour)},
		"now":                                 {time: now},
		"today":                               {time: time.Date(2026, 11, 22, 0, 0, 0, 0, time.Local)},
		"yesterday":                           {time: time.Date(2026, 11, 21, 0, 0, 0, 0, time.Local)},
		"@1785000000":                         {time: time.Unix(1785000000, 0)},
		"2d":                                  {time: now.Add(-48 * time.Hour)},
		"+90s":                                {time: now.Add(90 * time.Second)},
		"14:30":                               {time: time.Date(2026, 11, 22, 14, 30, 0, 0, time.Local)},
		"14:30:15.5":                          {time: time.Date(2026, 11, 22, 14, 30, 15, 500_000_000, time.Local)},
		"2026-11-21":                          {time: time.Date(2026, 11, 21, 0, 0, 0, 0, time.Local)},
		"2026-11-21 09:08":                    {time: time.Date(2026, 11, 21, 9, 8, 0, 0, time.Local)},
		"2026-11-21 09:08:07":                 {time: time.Date(2026, 11, 21, 9, 8, 7, 0, time.Local)},
		"2026-11-21T09:08:07.123456Z":         {time: time.Date(2026, 11, 21, 9, 8, 7, 123_456_000, time.UTC)},
	} {
		if got, err := parseMoment(text, now); err != nil || got.cursor != want.cursor || !got.time.Equal(want.time) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "soon", "-5m", "+", "+oldest", "5", "d", "-1d", "1d5", "1d1w", "1d-5m", "@", "@-1", "@x", "9999999w", "2026-13-01", "25:00", "a b:5", ":5"} {
		if got, err := parseMoment(bad, now); err == nil || !strings.Contains(err.Error(), "expected a cursor") {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

func TestTargets(t *testing.T) {
	for arg, want := range map[string]target{
		"tank:101": {"tank", "101", ""}, "tank:101/eth0": {"tank", "101", "eth0"}, "lxc:a/b/c": {"lxc", "a/b", "c"}, "k8s:a:b": {"k8s", "a:b", ""},
	} {
		if got, err := parseTarget(arg); err != nil || got != want || got.String() != arg {
			t.Errorf("%s: %+v, %v", arg, got, err)
		}
	}
	for _, bad := range []string{"", "tank", ":1", "tank:", "tank:/eth0", "tank:1/"} {
		if _, err := parseTarget(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
