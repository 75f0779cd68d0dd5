package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Position is how far a reader is in a stream. The zero value is before the first message.
type Position struct {
	Stream  string
	Created time.Time // of the stream: one that is made anew begins to number again
	Seq     uint64    // of the last message that was read
}

// PositionIn returns the position after a message of a stream.
func PositionIn(stream jetstream.Stream, seq uint64) Position {
	info := stream.CachedInfo()
	return Position{info.Config.Name, info.Created, seq}
}

// String returns the position as one line, for a file.
func (p Position) String() string {
	return fmt.Sprintf("%s %d %d", p.Stream, p.Created.UnixNano(), p.Seq)
}

// ParsePosition is the reverse of String.
func ParsePosition(text string) (Position, error) {
	fields := strings.Split(text, " ")
	if len(fields) == 3 {
		created, errCreated := strconv.ParseInt(fields[1], 10, 64)
		seq, errSeq := strconv.ParseUint(fields[2], 10, 64)
		if errCreated == nil && errSeq == nil && CheckStream(fields[0]) == nil {
			return Position{fields[0], time.Unix(0, created), seq}, nil
		}
	}
	return Position{}, fmt.Errorf("%.64q is no position in a stream", text)
}
