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
	// journalPositionSize is the size of the file in bytes, more than any cursor needs.
	journalPositionSize = 64
	// positionTimeout limits how long the start waits for the file to be opened.
	positionTimeout = 3 * time.Second
)

var errPositionHangs = errors.New("the disk hangs")

// positionFile is the file of a journalPosition. Tests use one that hangs.
type positionFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// journalPosition keeps the cursor of the last event written to the journal in a file of the
// state directory, so that the next process resumes there after a crash. A clean stop empties
// the file. A nil journalPosition keeps nothing.
//
// A goroutine writes the file, so a disk that hangs delays nobody. Once the disk works again,
// the goroutine writes the newest cursor.
type journalPosition struct {
	newest chan string // holds the cursor to write next
	clean  bool        // set before newest is closed
	done   chan struct{}
}

// openPositionFile opens the file in the state directory.
func openPositionFile(dir string) (positionFile, error) {
	return os.OpenFile(filepath.Join(dir, "journal-position"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // below --state-dir
}

// openJournalPosition returns the position and the cursor in its file, "" after a clean stop. It
// gives up after positionTimeout if the disk hangs.
func openJournalPosition(ctx context.Context, log *slog.Logger, open func() (positionFile, error)) (*journalPosition, string, error) {
	type opened struct {
		file   positionFile
		cursor string
		err    error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, positionTimeout, errPositionHangs)
	defer cancel()
	result := make(chan opened)
	go func() {
		var r opened
		if r.file, r.err = open(); r.err == nil {
			b := make([]byte, journalPositionSize)
			n, _ := r.file.ReadAt(b, 0) // an unreadable file counts as empty
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
			return nil, "", fmt.Errorf("open the journal position: %w", r.err)
		}
		p := &journalPosition{newest: make(chan string, 1), done: make(chan struct{})}
		go p.write(log, r.file)
		return p, r.cursor, nil
	case <-ctx.Done():
		return nil, "", fmt.Errorf("open the journal position: %w", context.Cause(ctx))
	}
}

// write writes cursors to the file until newest is closed. On an error it logs that and stops.
func (p *journalPosition) write(log *slog.Logger, file positionFile) {
	defer close(p.done)
	defer func() { _ = file.Close() }()
	for cursor := range p.newest {
		if _, err := file.WriteAt(fmt.Appendf(nil, "%-*s\n", journalPositionSize-1, cursor), 0); err != nil {
			log.Warn("the journal position cannot be written: after a crash the journal may repeat events", errorAttr(err))
			return
		}
	}
	if p.clean {
		_ = file.Truncate(0) // if this fails, the next start writes the last entries again
	}
}

// save queues a cursor to be written. It survives a crash of the process, but not of the machine.
func (p *journalPosition) save(cursor string) {
	if p == nil {
		return
	}
	select {
	case <-p.newest: // drop an older one
	default:
	}
	p.newest <- cursor // never blocks, because there is one sender
}

// close stops the writer, and waits for it up to journalGrace. clean means that the journal has
// all events.
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
