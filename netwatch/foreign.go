package netwatch

import (
	"encoding/binary"
	"log/slog"

	"golang.org/x/sys/unix"
)

// foreign applies a message of another namespace: only its links count, and of those
// only the peers of ours, so all others are not even decoded.
func (w *Watcher) foreign(m *message, nsid int32) error {
	if m.typ == unix.RTM_NEWNSID && nsid >= 0 {
		w.maybeSelf(m, nsid)
		return nil
	}
	if m.typ != unix.RTM_NEWLINK && m.typ != unix.RTM_DELLINK || len(m.body) < unix.SizeofIfInfomsg {
		return nil
	}
	if _, known := w.table.byPeer[Peer{nsid, binary.NativeEndian.Uint32(m.body[4:])}]; !known {
		return nil
	}
	l, ok, err := decodeLink(m)
	if err != nil || !ok {
		return err
	}
	w.table.inner(&l, nsid)
	return nil
}

// maybeSelf deals with an RTM_NEWNSID of a namespace about its own id: it may be the
// watched one that got it, and from then on all of its messages carry it.
func (w *Watcher) maybeSelf(m *message, nsid int32) {
	if about, err := decodeNSID(m); err == nil && about == nsid {
		w.askSelf()
	}
}

func (w *Watcher) askSelf() {
	self, err := w.kernel.ownNSID()
	if err != nil {
		w.log.Warn("cannot ask for the own namespace id", slog.Any("error", err))
		return
	}
	w.self = self
}

// renumbered applies an RTM_NEWNSID or RTM_DELNSID.
func (w *Watcher) renumbered(m *message, from origin) error {
	if from.answer {
		return nil
	}
	nsid, err := decodeNSID(m)
	if err != nil {
		return err
	}
	if nsid >= 0 {
		w.table.renumbered(nsid, m.typ == unix.RTM_DELNSID)
	}
	return nil
}

// answer applies the answer to a question about a link. One to a question that was
// given up is nothing.
func (w *Watcher) answer(m *message) error {
	a := w.table.asked[m.seq]
	if a == nil {
		return nil
	}
	l, ok, err := decodeLink(m)
	if err != nil {
		return err
	}
	failed := unix.Errno(0)
	if !ok {
		failed = unix.ENODEV // no veth any more
	}
	w.answered(a, &l, failed)
	return nil
}

// refuse takes an error for an answer, if it is one.
func (w *Watcher) refuse(seq uint32, failed unix.Errno) {
	if a := w.table.asked[seq]; a != nil && failed != 0 {
		w.answered(a, &link{}, failed)
	}
}

func (w *Watcher) answered(a *ask, l *link, failed unix.Errno) {
	if w.table.answered(a, l, failed) {
		w.sayDenied()
	}
}
