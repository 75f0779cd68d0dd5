package netwatch

import (
	"log/slog"
	"sync/atomic"
)

// missing has what the watcher's socket lacks.
type missing struct {
	deaf   bool        // no NETLINK_LISTEN_ALL_NSID
	buffer string      // the line about a small receive buffer; "" if it is not small
	denied atomic.Bool // the kernel denied a question about a namespace
}

const (
	missingBroadcast = "CAP_NET_BROADCAST: renames of interfaces inside containers are noticed only when the interface goes up"
	missingBuffer    = "CAP_NET_ADMIN: the receive buffer has %d KiB instead of %d (net.core.rmem_max): the kernel drops messages in a burst, and all links must be compared again"
	missingAdmin     = "CAP_NET_ADMIN over the namespaces of some containers: names of interfaces inside are not known"
)

// Missing returns what the watcher misses, such as a capability, and what does not work without it; nil
// if it misses nothing. It is safe for concurrent use. More may be missing as containers show up.
func (w *Watcher) Missing() []string {
	var all []string
	if w.owners != nil {
		all = append(all, w.owners.Missing()...)
	}
	if w.missing.buffer != "" {
		all = append(all, w.missing.buffer)
	}
	if w.missing.deaf {
		all = append(all, missingBroadcast)
	}
	if w.missing.denied.Load() {
		all = append(all, missingAdmin)
	}
	return all
}

// logMissing logs at the start what the socket lacks. The [Owners] log for themselves.
func (w *Watcher) logMissing() {
	if w.missing.buffer != "" {
		w.log.Warn("missing", slog.String("what", w.missing.buffer))
	}
	if w.missing.deaf {
		w.log.Warn("missing", slog.String("what", missingBroadcast))
	}
}

// logDenied logs once that the kernel denied a question about a namespace.
func (w *Watcher) logDenied() {
	if !w.missing.denied.Swap(true) {
		w.log.Warn("missing", slog.String("what", missingAdmin))
	}
}
