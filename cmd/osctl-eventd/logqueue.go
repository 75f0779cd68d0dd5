package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	maxLogLines = 256         // lines that wait to be written
	logPatience = time.Second // how long close waits for them
)

// logQueue writes log lines in a goroutine of its own, so that a journal that hangs delays nobody. It
// drops lines when maxLogLines wait, and then logs how many.
type logQueue struct {
	lines   chan []byte // nil is the end
	dropped atomic.Int64
	ended   chan struct{}
}

// newLogQueue returns a queue in front of w. It logs the number of dropped lines to direct, which
// must write to w too.
func newLogQueue(w io.Writer, direct *slog.Logger) *logQueue {
	q := &logQueue{lines: make(chan []byte, maxLogLines), ended: make(chan struct{})}
	go q.run(w, direct)
	return q
}

// Write queues a line, or drops it.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

func (q *logQueue) run(w io.Writer, direct *slog.Logger) {
	defer close(q.ended)
	for line := range q.lines {
		if n := q.dropped.Swap(0); n > 0 {
			direct.Error("the log was too slow: lines were dropped", slog.Int64("lines", n))
		}
		if line == nil {
			return
		}
		_, _ = w.Write(line) // an error cannot be logged
	}
}

// close waits until all lines are written, for at most logPatience.
func (q *logQueue) close() {
	timeout := time.After(logPatience)
	select {
	case q.lines <- nil:
	case <-timeout:
		return
	}
	select {
	case <-q.ended:
	case <-timeout:
	}
}
