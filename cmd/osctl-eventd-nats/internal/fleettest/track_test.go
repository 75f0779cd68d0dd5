package fleettest

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

// TestTrack reads what no bridge would write: each is refused whole, and moves nothing.
func TestTrack(t *testing.T) {
	header := func(cursor string) nats.Header {
		return nats.Header{fleet.HeaderCursor: {cursor}, fleet.HeaderMachine: {"m"}}
	}
	const event = `{"type":"x","cursor":"e:5"}` + "\n"
	track := Track{}
	lines, hole, err := track.Take(header("e:5"), []byte(event))
	if len(lines) != 1 || hole != nil || err != nil || track.Cursor != "e:5" {
		t.Fatalf("an event: %v, %v, %v", lines, hole, err)
	}
	for name, msg := range map[string]struct {
		header nats.Header
		data   string
	}{
		"no header": {nil, event}, "no line": {header("e:6"), ""}, "no JSON": {header("e:6"), "x\n"},
		"no cursor": {header("e:6"), `{"type":"x"}`}, "another cursor": {header("e:7"), event},
		"half": {header("e:6"), event + `{"type":"x","cur`},
	} {
		if lines, _, err := track.Take(msg.header, []byte(msg.data)); err == nil || lines != nil || track.Cursor != "e:5" {
			t.Errorf("%s: %v, %v, at %s", name, lines, err, track.Cursor)
		}
	}
	_, hole, err = track.Take(header("e:8"), []byte(`{"type":"x","cursor":"e:8"}`))
	if hole == nil || err != nil || track.Cursor != "e:8" {
		t.Errorf("a hole: %v, %v", hole, err)
	}
	_, hole, err = track.Take(header("f:2"), []byte(`{"type":"_gap","from":"e:8","cursor":"f:2"}`))
	if hole != nil || err != nil || track.Cursor != "f:2" {
		t.Errorf("a gap: %v, %v", hole, err)
	}
}
