package fleet

import (
	"fmt"
	"strings"
	"testing"
)

// eventLine returns the line of an event.
func eventLine(epoch string, seq int) string {
	return fmt.Sprintf(`{"type":"x","opts":{},"seq":%d,"time":"2026-11-22T10:11:12.000000Z","source":"uid:0","cursor":"%s:%[1]d"}`+"\n", seq, epoch)
}

// TestTrack reads messages one by one, among them some that no bridge would write.
func TestTrack(t *testing.T) {
	track := Track{}
	for _, step := range []struct {
		name, cursor, data string
		want               string // of each line: its number, or the gap
	}{
		{"the first event", "e:5", eventLine("e", 5), "5"},
		{"the next ones", "e:7", eventLine("e", 6) + eventLine("e", 7), "6 7"},
		{"a hole", "e:10", eventLine("e", 10), "dropped:2 10"},
		{"the same again, and more", "e:11", eventLine("e", 10) + eventLine("e", 11), "again 11"},
		{"a record", "e:11", `{"type":"_alive","cursor":"e:11"}`, "_alive"},
		{"a record of before", "e:9", `{"type":"_alive","cursor":"e:9"}`, "again"},
		{"a gap", "f:2", `{"type":"_gap","reason":"epoch","from":"e:11","cursor":"f:2"}`, "epoch:0"},
		{"another epoch", "g:4", eventLine("g", 4), "dropped:0 4"},
		{"back, as an administrator said", "g:2", `{"type":"_gap","reason":"take_over","from":"g:4","cursor":"g:2"}`, "take_over:0"},
		{"an event of a later version", "g:9", strings.Replace(eventLine("g", 9), `"x"`, `"db"`, 1), "dropped:6 unknown"},
		{"no line", "g:10", "", "error"},
		{"no JSON", "g:10", "x\n", "error"},
		{"no cursor", "g:10", `{"type":"x"}`, "error"},
		{"another cursor", "g:11", eventLine("g", 10), "error"},
		{"half", "g:10", eventLine("g", 10) + `{"type":"x","cur`, "error"},
		{"a long line", "g:10", `{"type":"_alive","cursor":"g:10","x":"` + strings.Repeat("x", maxLine) + `"}`, "error"},
		{"the next event", "g:10", eventLine("g", 10), "10"},
		{"a gap after what no bridge wrote", "g:12", `{"type":"_gap","reason":"take_over","cursor":"g:12"}`, "take_over:0"},
		{"a gap from nowhere", "g:13", `{"type":"_gap","from":"\u001b","cursor":"g:13"}`, "error"},
	} {
		lines, err := track.Take(&Head{Cursor: step.cursor}, []byte(step.data))
		var got []string
		for _, line := range lines {
			switch {
			case line.Again:
				got = append(got, "again")
			case line.Unknown != nil:
				got = append(got, "unknown")
			case line.Event != nil:
				got = append(got, fmt.Sprint(line.Event.Seq))
			case line.Record.Type == TypeGap:
				got = append(got, fmt.Sprint(line.Record.Reason, ":", line.Record.Lost))
			default:
				got = append(got, line.Record.Type)
			}
		}
		if err != nil {
			got = append(got, "error")
		}
		if got := strings.Join(got, " "); got != step.want {
			t.Errorf("%s: %s, %v, want %s", step.name, got, err, step.want)
		}
	}
}

func FuzzTrack(f *testing.F) {
	f.Add("e:5", eventLine("e", 4)+eventLine("e", 5))
	f.Add("e:5", `{"type":"_gap","from":"e:1","cursor":"e:5"}`)
	f.Fuzz(func(t *testing.T, cursor, data string) {
		track := Track{"e:3"}
		lines, err := track.Take(&Head{Cursor: cursor}, []byte(data))
		for _, line := range lines {
			if line.Record == nil && line.Event == nil && line.Unknown == nil {
				t.Errorf("an empty line, %v", err)
			}
		}
	})
}
