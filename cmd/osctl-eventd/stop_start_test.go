package main

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/hub/eventlog/disktest"
)

// TestStopWhileStarting wants SIGTERM to end a start that waits for a disk that hangs, in order.
func TestStopWhileStarting(t *testing.T) {
	dir, freeze := disktest.Mount(t)
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM) // so that it does not end the test
	defer signal.Stop(terms)
	thaw := freeze()
	var said bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"--state-dir", filepath.Join(dir, "state"), "--bus", "unix:path=/nowhere"}, &said, &said, false)
	}()
	for deadline := time.After(patience); ; {
		must(t, syscall.Kill(os.Getpid(), syscall.SIGTERM)) // until it is heard
		select {
		case code := <-ended:
			if thaw(); code != 0 || said.Len() > 0 {
				t.Errorf("exit status %d; it said %q", code, said.String())
			}
			return
		case <-deadline:
			t.Fatal("it does not end")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
