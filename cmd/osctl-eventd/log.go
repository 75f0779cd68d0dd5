package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// toJournal reports whether a file is the connection to the journal that systemd made:
// JOURNAL_STREAM names its device and inode, see systemd.exec(5). The variable alone
// says nothing, as children inherit it.
func toJournal(file *os.File) bool {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return false
	}
	return os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

func errorAttr(err error) slog.Attr { return slog.Any("error", err) }

// newLogger returns a logger of lines to w. For the journal each begins with its
// priority, see sd-daemon(3), and has no time, as the journal keeps its own.
func newLogger(w io.Writer, level slog.Level, journal bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if !journal {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}
	var h journalHandler
	for i, prefix := range [...]string{"<7>", "<6>", "<4>", "<3>"} {
		h[i] = slog.NewTextHandler(prefixWriter{w, prefix}, opts)
	}
	return slog.New(h)
}

// journalHandler has one handler for each level, from debug to error.
type journalHandler [4]slog.Handler

func (h journalHandler) of(level slog.Level) slog.Handler {
	switch {
	case level < slog.LevelInfo:
		return h[0]
	case level < slog.LevelWarn:
		return h[1]
	case level < slog.LevelError:
		return h[2]
	default:
		return h[3]
	}
}

func (h journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.of(level).Enabled(ctx, level)
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.of(r.Level).Handle(ctx, r)
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i := range h {
		h[i] = h[i].WithAttrs(attrs)
	}
	return h
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	for i := range h {
		h[i] = h[i].WithGroup(name)
	}
	return h
}

// prefixWriter puts a prefix before each write, which is one line.
type prefixWriter struct {
	w      io.Writer
	prefix string
}

func (p prefixWriter) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
