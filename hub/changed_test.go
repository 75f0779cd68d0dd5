package hub

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestChangedWithTheLog wants a token when the log fails, and when it is written again, though
// nothing is committed then.
func TestChangedWithTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 20}
		h := newHub(t, Config{Log: log})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Run(ctx) }()
		fail := func(err error) {
			log.mu.Lock()
			defer log.mu.Unlock()
			log.fails, log.syncs = err, err
		}
		await := func(durable bool) {
			t.Helper()
			for late := time.After(time.Hour); h.Status().Durable != durable; { // of the bubble's clock
				select {
				case <-h.Changed():
				case <-late:
					t.Fatalf("nobody was told that durable is %v", durable)
				}
			}
		}
		fill(t, h, 1)
		fail(syscall.EIO)
		await(false)
		fail(nil)
		await(true)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
