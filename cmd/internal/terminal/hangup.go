package terminal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// WatchHangup ends the process by SIGPIPE as soon as the reader of its output is gone. Otherwise
// `monitor | head -n 1` would stay until the next event. It works for pipes and sockets only. stop
// ends the watch.
func WatchHangup(out *os.File) (stop func()) {
	info, err := out.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return func() {}
	}
	var wake [2]int
	if unix.Pipe2(wake[:], unix.O_CLOEXEC) != nil {
		return func() {} // the next write fails instead
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fds := []unix.PollFd{{Fd: int32(out.Fd())}, {Fd: int32(wake[0]), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
		for {
			_, err := unix.Poll(fds, -1)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && fds[1].Revents == 0 {
				_, _ = out.WriteString("\n") // without a reader this raises SIGPIPE
			}
			return
		}
	}()
	return func() {
		_ = unix.Close(wake[1])
		<-done
		_ = unix.Close(wake[0])
	}
}
