package netwatch

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/hub"
)

// begin takes over what the hub's view holds from before a restart. It counts only in the
// same boot and the same network namespace: elsewhere the same numbers are of other
// links, so all of it is gone. The place is noted once that is committed.
func (w *Watcher) begin() error {
	rows, _ := w.hub.Interfaces()
	w.table.seed(rows)
	switch before := w.hub.Place(); before {
	case w.place:
		return nil
	case "":
	default:
		w.log.Info("what was known is of another boot or network namespace", slog.Int("interfaces", len(rows)))
		w.table.forgetAll()
	}
	if err := w.commit(); err != nil {
		return err
	}
	_, err := w.hub.Commit(hub.Batch{Place: w.place})
	return err
}

// namespaceCookie names the namespace of the socket: no other one of the same boot has
// the same (SO_NETNS_COOKIE, Linux 5.14). Older kernels give the inode, which a later
// namespace may have again.
func (s *socket) namespaceCookie() (string, error) {
	var cookie uint64
	var failed error
	err := s.conn.Control(func(fd uintptr) {
		cookie, failed = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	})
	if err := errors.Join(err, failed); err == nil {
		return strconv.FormatUint(cookie, 10), nil
	}
	inode, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("name the network namespace: %w", err)
	}
	return inode, nil
}
