package eventlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/osctl/eventd/hub"
)

const (
	segmentSuffix = ".seg"
	pendingSuffix = ".tmp"
	segmentMagic  = "osctlev1"
	segmentHeader = 64 // magic, index, epoch, 8 unused bytes, end of the snapshot, checksum
	recordHeader  = 20 // length of the data, checksum, first, count
	// maxRecord is larger than any record of the hub, in bytes. A batch of 1 MiB on the bus
	// takes 65 MiB at most: an empty array takes 4 bytes on the bus, and up to 258 here,
	// because its type is stored with it.
	maxRecord = 128 << 20
	maxIndex  = 1 << 62 // of a segment
)

// Errors of reading a segment.
var (
	errFormat  = errors.New("not a segment of this version")
	errTorn    = errors.New("a record is incomplete")
	errDamaged = errors.New("a record is damaged")
	errRefused = errors.New("a record has a valid checksum but cannot be decoded")
)

// segment is one file of the log.
type segment struct {
	index       uint64
	epoch       string
	size        int64    // in bytes, up to the end of the last whole record
	snapshotEnd int64    // of the snapshot at the beginning of the file
	first       uint64   // number of its first event, or of the next event if it has none
	next        uint64   // number after its last event
	file        *os.File // open for the last segment, and for unsynced ones
}

func (s *segment) path(dir, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%016x", s.index)+suffix)
}

// close closes the file, if it is open.
func (s *segment) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// header returns the header of a segment.
func (s *segment) header() []byte {
	b := make([]byte, segmentHeader)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint64(b[8:], s.index)
	copy(b[16:48], s.epoch)
	binary.LittleEndian.PutUint32(b[56:], uint32(min(s.snapshotEnd, maxSegment))) //nolint:gosec // at most that
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// readHeader sets the fields of a segment that its header has.
func (s *segment) readHeader(b []byte) error {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic || binary.LittleEndian.Uint64(b[8:]) != s.index ||
		binary.LittleEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return errFormat
	}
	s.epoch = string(b[16:48])
	s.size, s.snapshotEnd = segmentHeader, max(segmentHeader, int64(binary.LittleEndian.Uint32(b[56:])))
	return nil
}

// addRecord updates the fields for an appended record.
func (s *segment) addRecord(r *hub.Record, size int64) {
	if s.size == segmentHeader {
		s.first = r.First
	}
	s.size += size
	s.next = r.First + uint64(r.Count)
}

// appendRecord appends the stored form of a record. The checksum covers all but itself.
func appendRecord(b []byte, r hub.Record) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Data))) //nolint:gosec // at most maxRecord
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, r.First)
	b = binary.LittleEndian.AppendUint32(b, r.Count)
	b = append(b, r.Data...)
	binary.LittleEndian.PutUint32(b[at+4:], checksum(b[at:]))
	return b
}

// checksum returns the checksum of a stored record.
func checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(record[:4], castagnoli), castagnoli, record[8:])
}

// scan replays a segment from its content, and sets size, first and next for its whole records. The
// error says why it stopped before the end.
func (s *segment) scan(content []byte, replay func(hub.Record) error) error {
	if err := s.readHeader(content); err != nil {
		return err
	}
	for s.size < int64(len(content)) {
		record, size, err := cutRecord(content[s.size:])
		if err == nil && s.size > segmentHeader && record.First != s.next {
			err = fmt.Errorf("%w: event %d follows %d", errDamaged, record.First, s.next-1)
		}
		if err == nil {
			err = replay(record)
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w", s.size, err)
		}
		s.addRecord(&record, size)
	}
	return nil
}

// cutRecord returns the first record of b and its stored size.
func cutRecord(b []byte) (r hub.Record, size int64, err error) {
	if len(b) < recordHeader {
		return r, 0, errTorn
	}
	length := binary.LittleEndian.Uint32(b)
	switch {
	case length == 0 || length > maxRecord:
		return r, 0, errDamaged
	case int64(len(b)) < recordHeader+int64(length):
		return r, 0, errTorn
	}
	b = b[:recordHeader+int64(length)]
	r.First = binary.LittleEndian.Uint64(b[8:])
	r.Count = binary.LittleEndian.Uint32(b[16:])
	r.Data = b[recordHeader:]
	if binary.LittleEndian.Uint32(b[4:]) != checksum(b) || r.First == 0 || r.First+uint64(r.Count) < r.First {
		return r, 0, errDamaged
	}
	return r, int64(len(b)), nil
}

// segmentIndex returns the index of a segment from its file name.
func segmentIndex(name string) (index uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	index, err := strconv.ParseUint(digits, 16, 64)
	s := &segment{index: index}
	return index, ok && err == nil && index > 0 && index <= maxIndex && filepath.Base(s.path("", segmentSuffix)) == name
}

// listSegments returns the segments in a directory, ordered by index, and deletes unfinished ones.
func listSegments(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segments []*segment
	for _, entry := range entries {
		if index, ok := segmentIndex(entry.Name()); ok {
			segments = append(segments, &segment{index: index})
		} else if isPending(entry) {
			_ = os.Remove(filepath.Join(dir, entry.Name())) // otherwise it is overwritten later
		}
	}
	slices.SortFunc(segments, func(a, b *segment) int { return cmp.Compare(a.index, b.index) })
	return segments, nil
}
