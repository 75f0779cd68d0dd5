package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// journalPosition keeps, in a file of the state directory, the cursor after the last
// event that is in the journal: so that the end of the process, of whatever kind, leaves
// no event out. After an orderly end the file is empty. A nil one keeps nothing.
type journalPosition struct {
	file *os.File
	buf  []byte
}

// journalPositionSize is the size of the file: more than any cursor has.
const journalPositionSize = 64

// openJournalPosition returns the position and the cursor that was left there, "" if the
// end was in order.
func openJournalPosition(dir string) (*journalPosition, string, error) {
	path := filepath.Join(dir, "journal-position")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // below the directory that was asked for
	if err != nil {
		return nil, "", fmt.Errorf("position in the journal: %w", err)
	}
	b := make([]byte, journalPositionSize)
	n, _ := file.ReadAt(b, 0) // what cannot be read is as good as nothing
	return &journalPosition{file: file}, strings.TrimSpace(string(b[:n])), nil
}

// save keeps a cursor. It survives the end of the process, not that of the machine.
func (p *journalPosition) save(cursor string) error {
	if p == nil {
		return nil
	}
	p.buf = fmt.Appendf(p.buf[:0], "%-*s\n", journalPositionSize-1, cursor)
	_, err := p.file.WriteAt(p.buf, 0)
	return err
}

// close ends it; clean says that all is in the journal.
func (p *journalPosition) close(clean bool) {
	if p == nil {
		return
	}
	if clean {
		_ = p.file.Truncate(0) // else the last entries are written again
	}
	_ = p.file.Close()
}
