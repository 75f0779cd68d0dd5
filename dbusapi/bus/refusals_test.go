package bus

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The first refused call is logged at once. Further ones are in one line a minute, and each is counted.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, counts := &records{}, &counters{}
		r := &refusals{log: slog.New(log), count: counts.add}
		want := func(refused int, user string) {
			t.Helper()
			line := fmt.Sprintf("refused calls: too many are queued refused=%d last_user=%s", refused, user)
			if got := log.take(); !slices.Equal(got, []string{line}) {
				t.Errorf("logged was %q, want %q", got, line)
			}
		}
		r.add("7")
		want(1, "7")
		for range 3 {
			for range 599 {
				time.Sleep(100 * time.Millisecond)
				r.add("7")
			}
			if lines := log.take(); len(lines) > 0 {
				t.Error("within a minute:", lines)
			}
			time.Sleep(100 * time.Millisecond)
			r.add("8")
			want(600, "8")
		}
		r.add("7")
		time.Sleep(time.Hour)
		r.add("9")
		want(2, "9")
		if got := counts.get(CounterOverLimit); got != 1803 {
			t.Errorf("counted %d calls, want 1803", got)
		}
	})
}
