package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// isJournal reports whether systemd connected file to the journal: JOURNAL_STREAM holds the
// device and inode of that connection, see systemd.exec(5). The variable alone proves nothing,
// because children inherit it.
func isJournal(file *os.File) bool {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return false
	}
	return os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

func errorAttr(err error) slog.Attr { return slog.Any("error", err) }

// newLogger returns a logger that writes lines to w. For the journal a line begins with its
// priority, see sd-daemon(3), and has no time, because the journal adds its own.
func newLogger(w io.Writer, level slog.Level, journal bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if !journal {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(journalWriter{w}, opts))
}

// journalWriter replaces the level, with which slog begins each line, by a priority.
type journalWriter struct{ w io.Writer }

// Write writes one line. slog calls it once a line.
func (j journalWriter) Write(line []byte) (int, error) {
	level, text, _ := bytes.Cut(line, []byte(" "))
	priority := map[string]string{"level=DEBUG": "<7>", "level=INFO": "<6>", "level=WARN": "<4>", "level=ERROR": "<3>"}[string(level)]
	if _, err := j.w.Write(append([]byte(priority), text...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
