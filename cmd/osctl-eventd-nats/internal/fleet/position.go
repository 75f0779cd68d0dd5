package fleet

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Position is the position of a reader in a stream. The zero value is before the first message.
type Position struct {
	Stream  string
	Created time.Time // of the stream; a recreated stream numbers its messages anew
	Seq     uint64    // of the last message read
	Seen    time.Time // when the server received it; if this differs, the stream is an older copy of itself
}

// FirstPosition returns the position before the first message of a stream.
func FirstPosition(stream jetstream.Stream) Position {
	info := stream.CachedInfo()
	return Position{Stream: info.Config.Name, Created: info.Created}
}

// LastPosition returns the position after the last message of a stream.
func LastPosition(stream jetstream.Stream) Position {
	p, state := FirstPosition(stream), stream.CachedInfo().State
	p.Seq, p.Seen = state.LastSeq, state.LastTime
	return p
}

// String returns the position as one line, for a file.
func (p Position) String() string {
	return fmt.Sprintf("%s %d %d %d", p.Stream, p.Created.UnixNano(), p.Seq, p.Seen.UnixNano())
}

// ParsePosition is the reverse of String.
func ParsePosition(text string) (Position, error) {
	var p Position
	var created, seen int64
	_, err := fmt.Sscanf(text, "%s %d %d %d", &p.Stream, &created, &p.Seq, &seen)
	p.Created, p.Seen = time.Unix(0, created), time.Unix(0, seen)
	if err != nil || CheckStream(p.Stream) != nil || p.String() != text {
		return Position{}, fmt.Errorf("%.64q: expected a position in a stream", text)
	}
	return p, nil
}
