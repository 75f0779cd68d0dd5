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
	// markOffset is the place of the mark of an abandoned log, the byte after the head. So a
	// write of the head that hung and returns late does not clear the mark.
	markOffset = headSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head records the end of the segments, so that a Load notices a loss.
type head struct {
	epoch  string   // 32 letters
	boot   [16]byte // hash of the boot ID of the machine
	last   uint64   // number of the last event
	oldest uint64   // index of the oldest segment
	newest uint64   // index of the newest segment
	size   int64    // of the newest segment, in bytes
	clean  bool     // the log was closed, and all of it is on the disk
	synced uint64   // index of the newest segment at the last sync
}

var errHead = errors.New("the head is damaged")

// bootHash returns a hash of a boot ID.
func bootHash(boot string) (hash [16]byte) {
	sum := sha256.Sum256([]byte(boot))
	copy(hash[:], sum[:])
	return hash
}

// encode writes the head into b, which has at least headSize bytes.
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
	binary.LittleEndian.PutUint64(b[96:], h.synced)
	binary.LittleEndian.PutUint32(b[headSize-4:], crc32.Checksum(b[:headSize-4], castagnoli))
}

func decodeHead(b []byte) (h head, err error) {
	if len(b) < headSize || string(b[:8]) != headMagic ||
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
	h.synced = binary.LittleEndian.Uint64(b[96:])
	return h, nil
}

// storedHead is the result of reading a head.
type storedHead struct {
	head
	found     bool
	abandoned bool
	content   []byte
	problem   error // why it cannot be decoded
}

// readHead reads the head. An empty file has no head.
func readHead(f *os.File) (s storedHead, err error) {
	b := make([]byte, 2*headSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return s, err
	}
	if n == 0 {
		return s, nil
	}
	s.found, s.content = true, b[:n]
	s.head, s.problem = decodeHead(s.content)
	switch {
	case n > headSize+1:
		s.problem = errHead
	case n > headSize:
		s.abandoned = b[markOffset] != 0
	}
	return s, nil
}
