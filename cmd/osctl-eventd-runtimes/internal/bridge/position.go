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

// position is the file that says up to when the events of an engine were handled, by its clock.
type position struct{ path string }

func positionOf(dir, pool string) position { return position{filepath.Join(dir, pool+".position")} }

// maxPosition is how long the file may be, in bytes.
const maxPosition = 32

// load returns the time in the file; the zero Time if there is no file, or nothing useful in it.
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
		return time.Time{}, nil //nolint:nilerr // as if it were not there
	}
	return time.UnixMicro(micros), nil
}

// save replaces the file. It need not be on the disk at once: an older position does no harm.
func (p position) save(at time.Time) error {
	return replaceFile(p.path, fmt.Appendf(nil, "%d\n", at.UnixMicro()), 0o600)
}
