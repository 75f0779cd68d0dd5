package netwatch

import "time"

// wait waits until all that was submitted is committed, or for a minute.
func (s *submitted) wait() {
	for end := time.Now().Add(time.Minute); !s.isEmpty() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
