package netwatch

import (
	"errors"

	"golang.org/x/sys/unix"
)

// askKind is what a question to the kernel is about. What is later stands for what is
// before it.
type askKind int

const (
	askNothing askKind = iota
	askPeer            // the peer: its name
	askHost            // the end here: who the peer is
)

// maxAsked is how many questions may be outstanding: their answers take room in the
// receive buffer. Each loss makes it a quarter, down to one, until all is answered:
// what had no room is asked anew, so it must get through in the end.
const maxAsked = 64

// ask is a question about a link that the kernel was asked on the socket that
// listens, so that the answer is in the queue at its place among the live messages.
type ask struct {
	number uint32 // of the request
	kind   askKind
	row    *row
	peer   Peer
	space  *namespace // of the peer
}

// request returns the message that asks.
func (a *ask) request() []byte {
	if a.kind == askHost {
		return linkRequest(a.number, a.row.Ifindex, NSIDLocal)
	}
	return linkRequest(a.number, a.peer.Ifindex, a.peer.NSID)
}

// want has a question asked. A row has one at a time, and the queue each row once.
func (t *table) want(r *row, kind askKind) {
	if r.ask != nil && r.ask.kind == kind && r.ask.peer == r.peer && r.ask.space == r.space {
		return
	}
	r.wants = max(r.wants, kind)
	if r.ask == nil && !r.queued {
		r.queued = true
		t.wanted = append(t.wanted, r)
	}
}

// nextAsk returns the next question, nil if there is none.
func (t *table) nextAsk(number func() uint32) *ask {
	for len(t.wanted) > 0 {
		r := t.wanted[0]
		t.wanted = t.wanted[1:]
		kind := r.wants
		r.queued, r.wants = false, askNothing
		if kind == askPeer && !r.gone && !r.astray && r.space != nil && r.space.gone && !r.space.lost {
			kind, r.astray = askHost, true // its namespace died, and the end here did not
		}
		if r.gone || kind == askPeer && (r.space == nil || r.space.gone || r.innerKnown) || kind == askNothing {
			t.settleHold(r)
			continue
		}
		r.ask = &ask{number: number(), kind: kind, row: r, peer: r.peer, space: r.space}
		t.asked[r.ask.number] = r.ask
		return r.ask
	}
	return nil
}

// answered takes the answer to a question: a link, or why there is none. An answer
// that is too late for the peer that the row has now says nothing.
func (t *table) answered(a *ask, l *link, failed unix.Errno) (denied bool) {
	delete(t.asked, a.number)
	r := a.row
	r.ask = nil
	if r.wants != askNothing {
		t.want(r, r.wants)
	}
	if a.kind == askPeer && a.space == r.space && a.peer == r.peer && !r.innerKnown {
		denied = errors.Is(failed, unix.EPERM) || errors.Is(failed, unix.EACCES)
		switch {
		case failed == 0 && l.peer.Ifindex == r.Ifindex && !a.space.gone:
			r.inner, r.innerKnown = showName(l.name, r.Name), true
		case denied && !a.space.gone:
			r.inner, r.innerKnown = "", true
		case !r.astray && !r.gone: // it is not where it was: the end here knows
			r.astray = true
			t.want(r, askHost)
		}
	}
	if a.kind == askHost && !r.gone {
		if failed == 0 {
			t.apply(l, false)
		}
		t.learn(r) // which stood back for this
	}
	t.learned(r)
	return denied
}
