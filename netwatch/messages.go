package netwatch

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// datagram applies the messages of a datagram, live or of a dump, in their order.
func (w *Watcher) datagram(b []byte, from origin) {
	if from.nsid == w.self {
		from.nsid = NSIDLocal
	}
	for len(b) > 0 {
		m, rest, err := splitMessage(b)
		switch {
		case err != nil:
		case from.nsid != NSIDLocal:
			err = w.foreign(&m, from.nsid)
		default:
			err = w.message(&m, from)
		}
		if err != nil {
			w.log.Warn("cannot read a link message", slog.Any("error", err))
			w.overrun(becauseMalformed)
		}
		b = rest
	}
}

// message applies one message. Answers to us carry our port and the number of the
// request. That is not enough to tell them: live messages carry those of whoever
// made the change, who may have the same port in another namespace. But only
// answers of several parts are marked as such.
func (w *Watcher) message(m *message, from origin) error {
	r := &w.resync
	ours := m.pid == w.kernel.port() && (m.typ < unix.NLMSG_MIN_TYPE || m.flags&unix.NLM_F_MULTI != 0)
	dumped := ours && r.seq != 0 && m.seq == r.seq
	if dumped {
		r.nudge = 0
		if m.flags&unix.NLM_F_DUMP_INTR != 0 {
			r.want(becauseInterrupt)
		}
	}
	switch m.typ {
	case unix.RTM_NEWNSID, unix.RTM_DELNSID:
		return w.renumbered(m, from)
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if from.answer && m.flags&unix.NLM_F_MULTI == 0 {
			return w.answer(m)
		}
		if ours && !dumped {
			return nil // of a dump that was given up
		}
		return w.link(m, dumped)
	case unix.NLMSG_DONE:
		if !dumped {
			return nil
		}
		failed, err := m.errno()
		w.finishDump(failed)
		return err
	case unix.NLMSG_ERROR:
		failed, err := m.errno()
		switch {
		case err != nil:
			return err
		case dumped && failed != 0:
			w.refuseDump(failed)
		case ours && !dumped:
			w.refuse(m.seq, failed)
			w.fences.ack(m.seq)
			w.receiveDeliveries()
		}
	case unix.NLMSG_OVERRUN:
		w.overrun(becauseOverrun)
	}
	return nil
}

// link applies one link message.
func (w *Watcher) link(m *message, dumped bool) error {
	l, ok, err := decodeLink(m)
	if err != nil || !ok {
		return err
	}
	if dumped {
		w.resync.records++
	}
	if w.table.apply(&l, dumped) {
		w.resync.doubts++
		if w.resync.wanted == "" {
			// Not want: this dump is whole all the same.
			w.resync.wanted = becauseDoubt
		}
	}
	return nil
}
