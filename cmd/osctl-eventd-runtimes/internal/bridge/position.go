package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// position is the file with the time, by the engine's clock, up to which the events of an engine were handled.
type position struct{ path string }

func newPosition(dir, pool string) position { return position{filepath.Join(dir, pool+".position")} }

// maxPosition is the maximum size of the file in bytes.
const maxPosition = 32

// load returns the time in the file, or the zero Time if the file does not exist or has no valid time.
func (p position) load() (time.Time, error) {
	b, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil || len(b) > maxPosition {
		return time.Time{}, err
	}
	micros, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || micros <= 0 {
		return time.Time{}, nil //nolint:nilerr // as if the file did not exist
	}
	return time.UnixMicro(micros), nil
}

// save replaces the file. It does not sync the file, because an older position does no harm.
func (p position) save(at time.Time) error {
	return replaceFile(p.path, fmt.Appendf(nil, "%d\n", at.UnixMicro()), 0o600)
}
