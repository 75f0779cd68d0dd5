package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/osctl/eventd/hub"
)

// ErrInUse is the error of [Open] when another process has the directory.
var ErrInUse = errors.New("the state directory is used by another process")

const (
	headName  = "head"
	headMagic = "osctlhd1"
	headSize  = 128
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is what must be known to tell whether the segments are all there is.
type head struct {
	epoch string   // 32 letters
	boot  [16]byte // of the machine, when this was written
	last  uint64   // number of the last event that was announced
	clean bool     // nothing came after last, and all of it is on the disk
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
	if h.clean {
		b[64] = 1
	}
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
	h.clean = b[64] == 1
	return h, nil
}

// openHead opens and locks the head, and makes it where there is none. Where it can be
// read only, it returns it with the error.
func openHead(dir string) (*os.File, error) {
	path := filepath.Join(dir, headName)
	f, problem := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // the path is the configured one
	if problem != nil {
		var err error
		if f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0); err != nil { //nolint:gosec // likewise
			return nil, problem
		}
	}
	var err error
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return f, problem
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return nil, fmt.Errorf("lock %s: %w", filepath.Join(dir, headName), err)
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
