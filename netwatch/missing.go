package netwatch

import (
	"log/slog"
	"sync/atomic"
)

// missing is what the sockets lack.
type missing struct {
	deaf   bool        // no NETLINK_LISTEN_ALL_NSID
	buffer string      // what a small receive buffer costs; "" if it is not small
	denied atomic.Bool // a namespace was not to be asked
}

const (
	missingBroadcast = "CAP_NET_BROADCAST: renames of interfaces inside containers are not heard; they are found when the interface goes up"
	missingBuffer    = "CAP_NET_ADMIN: the receive buffer has %d KiB instead of %d (net.core.rmem_max): in a burst the kernel drops messages, and links are compared anew"
	missingAdmin     = "CAP_NET_ADMIN over the namespaces of some containers: names of the interfaces in them cannot be asked for"
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

// sayMissing says at the start what the socket lacks; the [Owners] say what they do.
func (w *Watcher) sayMissing() {
	if w.missing.buffer != "" {
		w.log.Warn("missing", slog.String("what", w.missing.buffer))
	}
	if w.missing.deaf {
		w.log.Warn("missing", slog.String("what", missingBroadcast))
	}
}

// sayDenied says once that a namespace was not to be asked.
func (w *Watcher) sayDenied() {
	if !w.missing.denied.Swap(true) {
		w.log.Warn("missing", slog.String("what", missingAdmin))
	}
}
