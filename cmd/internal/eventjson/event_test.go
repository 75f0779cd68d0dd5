package eventjson

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseEvent parses what the service prints, and refuses other text that a host may write into
// a stream.
func TestParseEvent(t *testing.T) {
	const line = `{"type":"state","opts":{"state":"running","z":1.0,"pool":"tank","a":[],"id":"101"},"seq":5,` +
		`"time":"2026-11-22T10:11:12.123456Z","source":"uid:0","cursor":"e:5"}`
	event, epoch, err := ParseEvent([]byte(line))
	if err != nil || epoch != "e" || event.Action != "running" {
		t.Fatalf("%+v, %s, %v", event, epoch, err)
	}
	if again := string(event.AppendJSON(nil, epoch)); again != line {
		t.Errorf("got\n%s, want\n%s", again, line)
	}
	for name, text := range map[string]string{
		"no object": `[]`, "no cursor": `{"type":"x","time":"2026-11-22T10:11:12Z"}`, "no time": `{"type":"x","cursor":"e:5"}`,
		"bad type":                  `{"type":"X","time":"2026-11-22T10:11:12Z","cursor":"e:5"}`,
		"a type twice":              `{"type":"x","type":"y","time":"2026-11-22T10:11:12Z","cursor":"e:5"}`,
		"an option that is no name": `{"type":"x","opts":{"\u001b[2J":1},"time":"2026-11-22T10:11:12Z","cursor":"e:5"}`,
		"a year of five digits":     `{"type":"x","time":"9999-12-31T23:59:59-23:59","cursor":"e:5"}`,
		"NUL":                       `{"type":"x","opts":{"a":"\u0000"},"time":"2026-11-22T10:11:12Z","cursor":"e:5"}`,
	} {
		if event, _, err := ParseEvent([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, event)
		}
	}
}

// TestParseManyOptions checks that an event with very many options is refused in linear time. In
// quadratic time the test would not end.
func TestParseManyOptions(t *testing.T) {
	var options strings.Builder
	for i := range 200_000 {
		_, _ = fmt.Fprintf(&options, `,"a%d":1`, i)
	}
	text := `{"type":"x","opts":{` + options.String()[1:] + `},"time":"2026-11-22T10:11:12Z","cursor":"e:5"}`
	if _, _, err := ParseEvent([]byte(text)); err == nil {
		t.Error("an event with 200,000 options is accepted")
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"type":"x","opts":{"a":[1,{"b":null}]},"time":"2026-11-22T10:11:12Z","source":"\u001b","cursor":"e:5"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		event, epoch, err := ParseEvent(text)
		if err != nil {
			return
		}
		printed := event.AppendJSON(nil, epoch)
		if _, _, err := ParseEvent(printed); err != nil {
			t.Fatalf("%s is parsed as %s, which is refused: %v", text, printed, err)
		}
	})
}
