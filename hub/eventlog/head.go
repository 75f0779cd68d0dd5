package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/osctl/eventd/hub"
)

const (
	headName  = "head"
	headMagic = "osctlhd1"
	headSize  = 128
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is what must be known to tell whether the segments are all there is.
type head struct {
	epoch  string   // 32 letters
	boot   [16]byte // of the machine, when this was written
	last   uint64   // number of the last event that was announced
	oldest uint64   // index of the oldest segment that counts
	newest uint64   // index of the newest one
	size   int64    // of that, in bytes; it may be larger by now
	clean  bool     // nothing came after that, and all of it is on the disk
	lost   bool     // a sync failed, and all was not written anew since
	synced uint64   // index of the newest segment that was synced; all before it are whole on the disk
}

var errHead = errors.New("the head is damaged")

// bootHash makes any name of a boot fit.
func bootHash(boot string) (hash [16]byte) {
	sum := sha256.Sum256([]byte(boot))
	copy(hash[:], sum[:])
	return hash
}

// encode writes the head into b, which has headSize bytes.
func (h *head) encode(b []byte) {
	clear(b)
	copy(b, headMagic)
	copy(b[8:40], h.epoch)
	copy(b[40:56], h.boot[:])
	binary.LittleEndian.PutUint64(b[56:], h.last)
	binary.LittleEndian.PutUint64(b[64:], h.oldest)
	binary.LittleEndian.PutUint64(b[72:], h.newest)
	binary.LittleEndian.PutUint64(b[80:], uint64(h.size)) //nolint:gosec // positive
	if h.clean {
		b[88] = 1
	}
	if h.lost {
		b[89] = 1
	}
	binary.LittleEndian.PutUint64(b[96:], h.synced)
	binary.LittleEndian.PutUint32(b[headSize-4:], crc32.Checksum(b[:headSize-4], castagnoli))
}

func decodeHead(b []byte) (h head, err error) {
	if len(b) != headSize || string(b[:8]) != headMagic ||
		binary.LittleEndian.Uint32(b[headSize-4:]) != crc32.Checksum(b[:headSize-4], castagnoli) {
		return h, errHead
	}
	h.epoch = string(b[8:40])
	if _, _, err := hub.ParseCursor(hub.FormatCursor(h.epoch, 0)); err != nil {
		return h, errHead
	}
	h.boot = [16]byte(b[40:56])
	h.last = binary.LittleEndian.Uint64(b[56:])
	h.oldest = binary.LittleEndian.Uint64(b[64:])
	h.newest = binary.LittleEndian.Uint64(b[72:])
	h.size = int64(binary.LittleEndian.Uint64(b[80:])) //nolint:gosec // compared only
	h.clean = b[88] == 1
	h.lost = b[89] == 1
	h.synced = binary.LittleEndian.Uint64(b[96:])
	return h, nil
}

// readHead reads the head; found is false if it was never written.
func readHead(f *os.File) (h head, found bool, err error) {
	b := make([]byte, headSize+1)
	n, err := f.ReadAt(b, 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return h, true, err
	case n == 0:
		return h, false, nil
	}
	h, err = decodeHead(b[:n])
	return h, true, err
}

// writeHead writes the head in place.
func (l *Log) writeHead() error {
	if l.head == nil || !l.writable {
		return errNoSegment
	}
	if len(l.segments) > 0 {
		last := l.segments[len(l.segments)-1]
		l.state.oldest, l.state.newest, l.state.size = l.segments[0].index, last.index, last.size
	}
	l.state.encode(l.headBuffer[:])
	_, err := l.head.WriteAt(l.headBuffer[:], 0)
	return err
}
