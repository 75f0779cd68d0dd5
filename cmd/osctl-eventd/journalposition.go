package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// journalPositionSize is the size of the file: more than any cursor has.
	journalPositionSize = 64
	// positionPatience is how long the start waits for the file to be opened.
	positionPatience = 3 * time.Second
)

var errPositionHangs = errors.New("the disk hangs")

// positionFile is the file of a journalPosition; tests have one that hangs.
type positionFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// journalPosition keeps, in a file of the state directory, the cursor after the last event that is
// in the journal, so that the end of the process, of whatever kind, leaves no event out. After an
// orderly end the file is empty. A nil journalPosition keeps nothing.
//
// A goroutine writes the file, so a disk that hangs delays nobody. Once the disk works again, the
// newest cursor is written.
type journalPosition struct {
	newest chan string // holds a cursor that is not written yet
	clean  bool        // set before newest is closed
	done   chan struct{}
}

// openPositionFile opens the file in the state directory.
func openPositionFile(dir string) (positionFile, error) {
	return os.OpenFile(filepath.Join(dir, "journal-position"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // below the directory that was asked for
}

// openJournalPosition returns the position and the cursor that was left there, "" if the end was in
// order. It does not wait for a disk that hangs.
func openJournalPosition(ctx context.Context, log *slog.Logger, open func() (positionFile, error)) (*journalPosition, string, error) {
	type opened struct {
		file   positionFile
		cursor string
		err    error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, positionPatience, errPositionHangs)
	defer cancel()
	result := make(chan opened)
	go func() {
		var r opened
		if r.file, r.err = open(); r.err == nil {
			b := make([]byte, journalPositionSize)
			n, _ := r.file.ReadAt(b, 0) // what cannot be read is as good as nothing
			r.cursor = strings.TrimSpace(string(b[:n]))
		}
		select {
		case result <- r:
		case <-ctx.Done():
			if r.err == nil {
				_ = r.file.Close()
			}
		}
	}()
	select {
	case r := <-result:
		if r.err != nil {
			return nil, "", fmt.Errorf("position in the journal: %w", r.err)
		}
		p := &journalPosition{newest: make(chan string, 1), done: make(chan struct{})}
		go p.write(log, r.file)
		return p, r.cursor, nil
	case <-ctx.Done():
		return nil, "", fmt.Errorf("position in the journal: %w", context.Cause(ctx))
	}
}

// write writes cursors to the file. If it cannot, it says so and gives that up.
func (p *journalPosition) write(log *slog.Logger, file positionFile) {
	defer close(p.done)
	defer func() { _ = file.Close() }()
	for cursor := range p.newest {
		if _, err := file.WriteAt(fmt.Appendf(nil, "%-*s\n", journalPositionSize-1, cursor), 0); err != nil {
			log.Warn("the position in the journal cannot be kept: after a crash events may come twice there", errorAttr(err))
			return
		}
	}
	if p.clean {
		_ = file.Truncate(0) // else the last entries are written again
	}
}

// save keeps a cursor. It survives the end of the process, not that of the machine.
func (p *journalPosition) save(cursor string) {
	if p == nil {
		return
	}
	select {
	case <-p.newest: // an older one
	default:
	}
	p.newest <- cursor // there is room, as nobody else sends
}

// close ends it; clean says that all is in the journal. It waits journalGrace for a disk that hangs.
func (p *journalPosition) close(clean bool) {
	if p == nil {
		return
	}
	p.clean = clean
	close(p.newest)
	select {
	case <-p.done:
	case <-time.After(journalGrace):
	}
}
