package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
)

// moment is where --since or --until points: at a cursor, or at a time.
type moment struct {
	cursor string // "" if it is a time
	time   time.Time
}

// momentForms tells in help what parseMoment reads.
const momentForms = "at a cursor, the oldest event kept (oldest), so long ago\n(90s, 10m, 2h, 1d), or at a time (15:04, 2006-01-02 15:04:05)"

// timeForms are the forms of a time, in the local zone unless they name one. Those
// without a date mean today.
func timeForms() []string {
	return []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
		"15:04:05.999999999", "15:04",
	}
}

// parseMoment reads CURSOR, oldest, DURATION (so long ago; with + from now) or TIME.
func parseMoment(text string, now time.Time) (moment, error) {
	for _, form := range timeForms() {
		t, err := time.ParseInLocation(form, text, time.Local)
		if err != nil {
			continue
		}
		if t.Year() == 0 {
			y, m, d := now.Date()
			t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.Local)
		}
		return moment{time: t}, nil
	}
	if ahead, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := parseDuration(ahead); err == nil {
			return moment{time: now.Add(d)}, nil
		}
	} else if d, err := parseDuration(text); err == nil {
		return moment{time: now.Add(-d)}, nil
	}
	if text == hub.CursorOldest {
		return moment{cursor: text}, nil
	}
	if _, _, err := hub.ParseCursor(text); err == nil {
		return moment{cursor: text}, nil
	}
	return moment{}, fmt.Errorf("%q: expected a cursor, oldest, a duration like 90s, 10m, 2h or 1d (so long ago), or a time like 15:04, 2006-01-02 15:04:05 or 2006-01-02T15:04:05Z", text)
}

// parseDuration is [time.ParseDuration] that also takes whole days, and nothing negative.
func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%s is negative", text)
	}
	return d, err
}
