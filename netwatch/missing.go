package netwatch

import (
	"log/slog"
	"sync/atomic"
)

// missing has what the watcher's socket lacks.
type missing struct {
	socket []string    // lines about the socket that listens, as New opened it
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
	all = append(all, w.missing.socket...)
	if w.missing.denied.Load() {
		all = append(all, missingAdmin)
	}
	return all
}

// logMissing logs at the start what the socket lacks. The [Owners] log for themselves.
func (w *Watcher) logMissing() {
	for _, line := range w.missing.socket {
		w.log.Warn("missing", slog.String("what", line))
	}
}

// logDenied logs once that the kernel denied a question about a namespace.
func (w *Watcher) logDenied() {
	if !w.missing.denied.Swap(true) {
		w.log.Warn("missing", slog.String("what", missingAdmin))
	}
}
