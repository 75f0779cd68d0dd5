package eventflags

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
)

// Moment is where --since or --until points: at a cursor, or at a time.
type Moment struct {
	Cursor string // "" if it is a time
	Time   time.Time
}

// MomentForms is the help text for the forms that ParseMoment reads.
const MomentForms = "a cursor; " + TimeForms

// TimeForms is the help text for those of them that are no cursor.
const TimeForms = "oldest, for the oldest event kept; a duration before now (90s, 10m, 2h, 1d12h, 1w); or a time (15:04, 2006-01-02 15:04:05, now, today, yesterday, @UNIX)"

// timeForms are the forms of a time, in the local zone unless they name one. Those
// without a date mean today.
func timeForms() []string {
	return []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
		"15:04:05.999999999", "15:04",
	}
}

// ParseMoment reads CURSOR, oldest, DURATION (before now; with + after now) or TIME.
func ParseMoment(text string, now time.Time) (Moment, error) {
	if t, ok := namedTime(text, now); ok {
		return Moment{Time: t}, nil
	}
	for _, form := range timeForms() {
		t, err := time.ParseInLocation(form, text, time.Local)
		if err != nil {
			continue
		}
		if t.Year() == 0 {
			y, m, d := now.Date()
			t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.Local)
		}
		return Moment{Time: t}, nil
	}
	if ahead, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := ParseDuration(ahead); err == nil {
			return Moment{Time: now.Add(d)}, nil
		}
	} else if d, err := ParseDuration(text); err == nil {
		return Moment{Time: now.Add(-d)}, nil
	}
	if text == hub.CursorOldest {
		return Moment{Cursor: text}, nil
	}
	if _, _, err := hub.ParseCursor(text); err == nil {
		return Moment{Cursor: text}, nil
	}
	return Moment{}, fmt.Errorf("%q: expected a cursor, oldest, a duration before now (90s, 10m, 2h, 1d12h, 1w), or a time (15:04, today, 2006-01-02 15:04:05, 2006-01-02T15:04:05Z, @1785000000)", text)
}

// namedTime reads now, today and yesterday (when that day began), and @ with the seconds
// since 1970.
func namedTime(text string, now time.Time) (t time.Time, ok bool) {
	y, m, d := now.Date()
	switch text {
	case "now":
		return now, true
	case "today":
		return time.Date(y, m, d, 0, 0, 0, 0, time.Local), true
	case "yesterday":
		return time.Date(y, m, d-1, 0, 0, 0, 0, time.Local), true
	}
	unix, ok := strings.CutPrefix(text, "@")
	seconds, err := strconv.ParseUint(unix, 10, 40)
	return time.Unix(int64(seconds), 0), ok && err == nil
}

// ParseDuration is [time.ParseDuration] that also takes whole weeks and days in front, and
// nothing negative.
func ParseDuration(text string) (time.Duration, error) {
	var whole time.Duration
	rest := text
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		count, after, ok := strings.Cut(rest, unit.letter)
		if n, err := strconv.ParseUint(count, 10, 13); ok && err == nil {
			whole, rest = whole+time.Duration(n)*unit.length, after
		}
	}
	if rest == "" && text != "" {
		return whole, nil
	}
	d, err := time.ParseDuration(rest)
	if err == nil && (d < 0 || whole+d < whole) {
		err = fmt.Errorf("%s is negative or too long", text)
	}
	return whole + d, err
}
