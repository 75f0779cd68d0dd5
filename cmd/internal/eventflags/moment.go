package eventflags

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/osctl/eventd/hub"
)

// Moment is the value of --since or --until: a cursor or a time.
type Moment struct {
	Cursor string // "" if it is a time
	Time   time.Time
}

// MomentForms is the help text for the values that ParseMoment reads.
const MomentForms = "a cursor; " + TimeForms

// TimeForms is MomentForms without cursors.
const TimeForms = "oldest, for the oldest event kept; a duration before now (90s, 10m, 2h, 1d12h, 1w); or a time (15:04, 2006-01-02 15:04:05, now, today, yesterday, @UNIX)"

// timeForms returns the layouts of a time. The zone is the local one unless the text names another;
// a time without a date is today.
func timeForms() []string {
	return []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
		"15:04:05.999999999", "15:04",
	}
}

// ParseMoment reads a cursor, oldest, a duration before now (with + after now), or a time.
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

// namedTime reads now, today and yesterday (the beginning of that day), and @ with seconds since
// 1970.
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

// ParseDuration is [time.ParseDuration] with whole weeks and days in front, as in 1w2d12h. It refuses
// negative durations.
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
