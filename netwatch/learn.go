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
	// patienceOfQuestions is how long a question waits for the queue to be empty. A flood must
	// not put it off for good.
	patienceOfQuestions = 100 * time.Millisecond
	// retryFailed is how long a question waits that the kernel did not answer.
	retryFailed = 100 * time.Millisecond
)

// learnt is what was asked or reported at one time. It counts after all that the kernel had
// queued by then, because the queue tells of what was before.
type learnt struct {
	answers  []links.Answer
	bindings []*links.Binding
	taken    chan struct{} // nil without bindings
	until    uint64        // when so many datagrams were read, all were that had been queued
}

// learn takes reports, and asks the kernel and the Owners what the table wants to know.
func (w *Watcher) learn(empty bool) {
	if w.learnt != nil || w.lost {
		return
	}
	for c := range w.inbox.takeChanges() {
		w.table.Recheck(c.owner, c.nsid)
	}
	l := &learnt{until: w.datagrams + w.queueSize}
	l.bindings, l.taken = w.inbox.takeBindings()
	if since, due := w.table.DueSince(); due && (empty || w.now().Sub(since) >= patienceOfQuestions) {
		for _, q := range w.table.Questions(maxQuestions) {
			l.answers = append(l.answers, w.ask(q))
		}
	}
	if l.taken != nil || len(l.answers) > 0 {
		w.learnt = l
	}
}

func (b *inbox) takeChanges() map[change]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	changes := b.changes
	b.changes = nil
	return changes
}

func (b *inbox) takeBindings() ([]*links.Binding, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bindings, taken := b.bindings, b.taken
	b.bindings, b.taken = nil, nil
	return bindings, taken
}

// takeLearnt takes what was learnt, once the queue was read up to that time.
func (w *Watcher) takeLearnt(empty bool) {
	l := w.learnt
	if l == nil || !empty && w.datagrams < l.until {
		return
	}
	w.learnt = nil
	for i := range l.answers {
		w.table.Answer(&l.answers[i])
	}
	for _, b := range l.bindings {
		w.table.Bind(b)
	}
	if l.taken != nil {
		close(l.taken)
	}
}

// ask answers a question about a link: who is its peer, what is that called, and whose is it?
// The Owners have the link asked again, see there. The name is that of an interface whose peer is
// the link, so it needs no more.
func (w *Watcher) ask(q links.Question) links.Answer {
	a := links.Answer{Question: q}
	here := rtnl.Peer{NSID: rtnl.NSIDLocal, Ifindex: q.Ifindex}
	host, err := w.kernel.Link(here)
	if w.fails(&a, err) {
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
	a.Moved = !found && q.Mover.ID != "" && w.owners.Runs(containers.Container(q.Mover))
	return a
}

// askName asks what the peer is called.
func (w *Watcher) askName(a *links.Answer) {
	inside, err := w.kernel.Link(a.Link.Peer)
	switch {
	case err == nil && inside.Peer.Ifindex == a.Ifindex:
		a.Name, a.NameKnown = inside.Name, true
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		a.NameKnown = true
		w.sayDenied()
	}
}

// fails takes an error of the kernel for an answer, if it is one.
func (w *Watcher) fails(a *links.Answer, err error) bool {
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
