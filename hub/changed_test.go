package hub

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A failure and a recovery of the log leave a token, also without a commit.
func TestChangedWithTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{room: 1 << 20}
		h := newHub(t, Config{Log: log})
		stop := runHub(t, h)
		fail := func(err error) { log.set(func() { log.writeErr, log.syncErr = err, err }) }
		await := func(durable bool) {
			t.Helper()
			for late := time.After(time.Hour); h.Status().Durable != durable; { // of the bubble's clock
				select {
				case <-h.Changed():
				case <-late:
					t.Fatalf("no token for Durable %v", durable)
				}
			}
		}
		fill(t, h, 1)
		fail(syscall.EIO)
		await(false)
		fail(nil)
		await(true)
		stop()
	})
}
