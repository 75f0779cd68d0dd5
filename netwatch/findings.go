package netwatch

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/netwatch/containers"
	"github.com/osctl/eventd/netwatch/links"
	"github.com/osctl/eventd/netwatch/rtnl"
)

const (
	// maxQuestions is how many questions are asked in one turn.
	maxQuestions = 64
	// maxQuestionDelay is how long a question waits for an empty queue, because a flood must
	// not delay it forever.
	maxQuestionDelay = 100 * time.Millisecond
	// retryFailed is the pause before a question is repeated that the kernel did not answer.
	retryFailed = 100 * time.Millisecond
)

// findings are the answers and reports of one turn. They are applied after all messages that the
// kernel had queued by then, because those are older.
type findings struct {
	answers  []links.Answer
	bindings []*links.Binding
	taken    chan struct{} // nil without bindings
	until    uint64        // how many datagrams must have been read
}

// gatherFindings takes the reports from the inbox, and asks the kernel and the Owners the questions of
// the table that are due.
func (w *Watcher) gatherFindings(empty bool) {
	if w.findings != nil || w.lost {
		return
	}
	for c := range w.inbox.takeRechecks() {
		w.table.Recheck(c.owner, c.nsid)
	}
	l := &findings{until: w.datagrams + w.queueSize}
	l.bindings, l.taken = w.inbox.takeBindings()
	if since, due := w.table.DueSince(); due && (empty || w.now().Sub(since) >= maxQuestionDelay) {
		for _, q := range w.table.Questions(maxQuestions) {
			l.answers = append(l.answers, w.answerQuestion(q))
		}
	}
	if l.taken != nil || len(l.answers) > 0 {
		w.findings = l
	}
}

func (b *inbox) takeRechecks() map[recheck]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	changes := b.rechecks
	b.rechecks = nil
	return changes
}

func (b *inbox) takeBindings() ([]*links.Binding, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bindings, taken := b.bindings, b.taken
	b.bindings, b.taken = nil, nil
	return bindings, taken
}

// applyFindings applies the findings, if the queue is empty or enough of it was read.
func (w *Watcher) applyFindings(empty bool) {
	l := w.findings
	if l == nil || !empty && w.datagrams < l.until {
		return
	}
	w.findings = nil
	for i := range l.answers {
		if w.table.Answer(&l.answers[i]) {
			w.resync.wantDump(becauseForeign)
		}
	}
	for _, b := range l.bindings {
		w.table.Bind(b)
	}
	if l.taken != nil {
		close(l.taken)
	}
}

// answerQuestion asks the kernel for the link's peer and the peer's name, and the Owners for the owner.
// The Owners need the peer confirmed, see [containers.Tracker]. The name needs no confirmation, because
// the interface that has it names the link as its peer.
func (w *Watcher) answerQuestion(q links.Question) links.Answer {
	a := links.Answer{Question: q}
	here := rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: q.Ifindex}
	host, err := w.kernel.Link(here)
	if w.recordError(&a, err) {
		return a
	}
	if a.Link = host; host.Peer != q.Peer || !host.Peer.Foreign() {
		return a
	}
	if !q.Named {
		w.askName(&a)
	}
	if w.owners == nil {
		return a
	}
	c, found, next := w.owners.Owner(host.Peer.NSID, func() bool {
		again, err := w.kernel.Link(here)
		return err == nil && again.Peer == host.Peer
	})
	a.Owner, a.Found, a.Next = links.Owner(c), found, next
	switch mover := containers.Container(q.Mover); {
	case found || mover.ID == "":
	case q.Stayed:
		a.Moved = w.owners.Left(mover, host.Peer.NSID)
	default:
		a.Moved = w.owners.Runs(mover)
	}
	return a
}

// askName asks for the name of the peer.
func (w *Watcher) askName(a *links.Answer) {
	inside, err := w.kernel.Link(a.Link.Peer)
	switch {
	case err == nil && inside.Peer.Ifindex == a.Ifindex:
		a.Name, a.NameKnown = inside.Name, true
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		a.NameKnown = true
		w.logDenied()
	}
}

// recordError puts an error of the kernel into an answer, and reports whether there was one.
func (w *Watcher) recordError(a *links.Answer, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, unix.ENODEV):
		a.Gone = true
	default:
		a.Failed, a.Next = true, w.now().Add(retryFailed)
	}
	return true
}
