package bus

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// parseRefused returns the logged numbers of refused calls by user.
func parseRefused(t *testing.T, lines []string) map[string]int {
	t.Helper()
	users := map[string]int{}
	for _, line := range lines {
		m := regexp.MustCompile(`user=(\S+) refused=(\d+)$`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("line is %q", line)
		}
		if users[m[1]] > 0 {
			t.Errorf("two lines of user %s", m[1])
		}
		users[m[1]], _ = strconv.Atoi(m[2])
	}
	return users
}

func newRefusals() (*refusals, *records, *counters) {
	log, counts := &records{}, &counters{}
	return &refusals{log: slog.New(log), count: counts.add}, log, counts
}

// Each user gets a line after a second, then at most one a minute, and each refused call is counted
// once. After a quiet minute the next line comes after a second again.
func TestRefusalsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log, counts := newRefusals()
		start := time.Now()
		var at []time.Duration
		sum := 0
		for range 5 * 60 * 10 {
			r.add("7")
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if lines := log.take(); len(lines) > 0 {
				at = append(at, time.Since(start))
				sum += parseRefused(t, lines)["7"]
			}
		}
		want := []time.Duration{time.Second, 61 * time.Second, 121 * time.Second, 181 * time.Second, 241 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("lines came after %v, want %v", at, want)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		lines := log.take()
		if sum += parseRefused(t, lines)["7"]; sum != 3000 || counts.get(CounterOverLimit) != 3000 || len(lines) != 1 {
			t.Errorf("logged %d calls, the last in %d lines; counted %d; want 3000", sum, len(lines), counts.get(CounterOverLimit))
		}
		r.add("8")
		time.Sleep(firstRefusal)
		synctest.Wait()
		if got := parseRefused(t, log.take()); len(got) != 1 || got["8"] != 1 {
			t.Errorf("after a quiet period: %v", got)
		}
		r.close()
	})
}

// Users beyond maxRefusedUsers share a line.
func TestRefusalsOfManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log, counts := newRefusals()
		for round := range 3 {
			for user := range 10 * maxRefusedUsers {
				r.add(fmt.Sprint(user))
			}
			r.mu.Lock()
			if len(r.users) > maxRefusedUsers+1 {
				t.Errorf("%d users are kept", len(r.users))
			}
			r.mu.Unlock()
			time.Sleep(refusalInterval)
			synctest.Wait()
			got := parseRefused(t, log.take())
			if got["others"] != 9*maxRefusedUsers || got["0"] != 1 || len(got) != maxRefusedUsers+1 {
				t.Errorf("round %d: %v", round, got)
			}
		}
		if got := counts.get(CounterOverLimit); got != 30*maxRefusedUsers {
			t.Errorf("counted %d", got)
		}
		r.close()
	})
}

// close logs the remaining calls. A later call starts no timer.
func TestRefusalsClose(t *testing.T) {
	for _, before := range []time.Duration{0, firstRefusal / 2, firstRefusal, firstRefusal + refusalInterval, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r, log, _ := newRefusals()
			r.add("7")
			time.Sleep(before)
			r.add("7")
			r.close()
			synctest.Wait()
			sum := 0
			for _, line := range log.take() {
				sum += parseRefused(t, []string{line})["7"]
			}
			if sum != 2 {
				t.Errorf("logged %d of 2 calls", sum)
			}
			r.add("7")
			time.Sleep(time.Hour)
			synctest.Wait()
			if lines := log.take(); len(lines) != 0 {
				t.Error("after the end:", lines)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r, log, _ := newRefusals()
		r.close()
		r.add("7")
		time.Sleep(time.Hour)
		synctest.Wait()
		if lines := log.take(); len(lines) != 0 {
			t.Error("after the end, without a call before it:", lines)
		}
	})
}
