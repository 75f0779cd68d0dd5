package main

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/hub/eventlog/disktest"
)

// TestFirstThread checks that no goroutine but that of main runs on the first thread, where a write to a
// disk that hangs would hold up SIGTERM.
func TestFirstThread(t *testing.T) {
	var wait sync.WaitGroup
	var others atomic.Int32
	for range 200 {
		wait.Go(func() {
			_ = syscall.Nanosleep(&syscall.Timespec{Nsec: 1e6}, nil) // so that the runtime needs many threads
			if syscall.Gettid() == os.Getpid() {
				others.Add(1)
			}
		})
	}
	if wait.Wait(); others.Load() > 0 {
		t.Errorf("%d goroutines ran on the first thread", others.Load())
	}
}

// TestStopWhileStarting checks that SIGTERM cleanly stops a daemon whose start waits for a hung disk.
func TestStopWhileStarting(t *testing.T) {
	dir, freeze := disktest.Mount(t)
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM) // so that it does not end the test
	defer signal.Stop(terms)
	thaw := freeze()
	var output bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"--state-dir", filepath.Join(dir, "state"), "--bus", "unix:path=/nowhere"}, &output, &output, false)
	}()
	for deadline := time.After(patience); ; {
		must(t, syscall.Kill(os.Getpid(), syscall.SIGTERM)) // again until the daemon handles it
		select {
		case code := <-ended:
			if thaw(); code != 0 || output.Len() > 0 {
				t.Errorf("exit status %d, output %q", code, output.String())
			}
			return
		case <-deadline:
			t.Fatal("the daemon does not stop")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
