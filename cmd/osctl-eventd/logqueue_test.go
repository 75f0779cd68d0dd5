package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hangingWriter takes nothing until it is released.
type hangingWriter struct {
	bytes.Buffer
	released chan struct{}
}

func (w *hangingWriter) Write(line []byte) (int, error) {
	<-w.released
	return w.Buffer.Write(line)
}

// TestLogHangs expects that nobody waits for a log that hangs, that the lines are written once it
// goes on, and that the log has the number of the dropped lines.
func TestLogHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &hangingWriter{released: make(chan struct{})}
		q := newLogQueue(w, newLogger(w, slog.LevelInfo, true))
		log := newLogger(q, slog.LevelInfo, true)
		log.Info("first")
		synctest.Wait() // it is being written
		const dropped = 10
		for i := range maxLogLines + dropped {
			log.Info("line", slog.Int("number", i))
		}
		began := time.Now()
		q.close()
		if took := time.Since(began); took != logPatience {
			t.Errorf("close took %v", took)
		}
		close(w.released)
		synctest.Wait()
		log.Warn("last")
		q.close()
		lines := strings.Split(strings.TrimSpace(w.String()), "\n")
		want := []string{"<6>msg=first", "<3>msg=\"the log was too slow: lines were dropped\" lines=10", "<6>msg=line number=0"}
		if len(lines) != maxLogLines+3 || lines[0] != want[0] || lines[1] != want[1] || lines[2] != want[2] || lines[len(lines)-1] != "<4>msg=last" {
			t.Errorf("%d lines: %q", len(lines), lines)
		}
	})
}
