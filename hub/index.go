package hub

// The index of waiters finds the waiting subscriptions that an event may match. Its cost does not
// depend on the number of waiters, nor on the number of different filters.
//
// A filter has a set of values for each of its keys. A waiter is filed under the values of one key: the
// most selective one that has at most maxEntries values, because filing is done under the hub's lock.
// Without such a key it is filed under noKey. For an event there is one lookup for each key, with the
// event's value, and the commit compares each waiter it finds with the whole filter.
//
// A commit compares at most maxDirect waiters, and one more for each of its events. If there are more,
// it only records the number of its event, and a sweep compares all waiters with all events from that
// number on, a few at a time (see sweep.go). So any number of readers cannot delay reports.

const (
	maxEntries = 16 // of one waiter
	maxDirect  = 16 // waiters that one commit compares, plus one for each event
)

// noKey stands for a key in the place of waiters that are filed under none.
const noKey = numKeys

// place is where waiters are filed: a key, and a value that the event must have for it.
type place struct {
	key   int
	value string // "" for noKey
}

// entry files one subscription at one place, in a doubly linked list.
type entry struct {
	sub        *Subscription
	prev, next *entry
	place      place
}

// entryList has the entries of one place.
type entryList struct {
	first *entry
	n     int
}

// waiterIndex is guarded by the hub's lock.
type waiterIndex struct {
	lists  map[place]*entryList
	budget int // waiters that this commit may still compare
	sweep  sweep
}

func newWaiterIndex() waiterIndex { return waiterIndex{lists: map[place]*entryList{}} }

// makeEntries makes the entries of a subscription. Each subscription keeps its own.
func makeEntries(sub *Subscription) []entry {
	for _, key := range [numKeys]int{keyID, keyVeth, keyName, keyCtName, keyPool, keySource, keyAction, keyType} {
		values := sub.filter.values[key]
		if len(values) == 0 || len(values) > maxEntries {
			continue
		}
		entries := make([]entry, len(values))
		for i, value := range values {
			entries[i] = entry{sub: sub, place: place{key, value}}
		}
		return entries
	}
	return []entry{{sub: sub, place: place{key: noKey}}}
}

// add files a subscription.
func (x *waiterIndex) add(sub *Subscription) {
	for i := range sub.entries {
		e := &sub.entries[i]
		list := x.lists[e.place]
		if list == nil {
			list = &entryList{}
			x.lists[e.place] = list
		}
		e.prev, e.next = nil, list.first
		if list.first != nil {
			list.first.prev = e
		}
		list.first = e
		list.n++
	}
	x.sweep.push(sub)
	sub.waiting = true
}

// remove removes a subscription.
func (x *waiterIndex) remove(sub *Subscription) {
	for i := range sub.entries {
		e := &sub.entries[i]
		list := x.lists[e.place]
		if e.next != nil {
			e.next.prev = e.prev
		}
		if e.prev != nil {
			e.prev.next = e.next
		} else {
			list.first = e.next
		}
		if list.n--; list.n == 0 {
			delete(x.lists, e.place)
		}
		e.prev, e.next = nil, nil // not to keep ended subscriptions in memory
	}
	x.sweep.unlink(sub)
	sub.waiting = false
}

// wake wakes and removes the subscriptions that wait for e. If there may be more of them than this
// commit may compare, it leaves the others to the sweep.
func (x *waiterIndex) wake(e *Event) {
	for key := range noKey + 1 {
		value := ""
		if key != noKey {
			value = e.keys[key]
		}
		list := x.lists[place{key, value}]
		if list == nil {
			continue
		}
		if list.n > x.budget {
			x.sweep.deferFrom(e.Seq)
			continue
		}
		x.budget -= list.n
		for at := list.first; at != nil; {
			sub, next := at.sub, at.next
			if sub.filter.matchKeys(&e.keys) {
				x.release(sub, e.Seq)
			}
			at = next
		}
	}
}

// release removes a subscription and wakes it for event seq, or for an earlier event that it was not
// yet compared with.
func (x *waiterIndex) release(sub *Subscription, seq uint64) {
	seq = min(seq, x.firstUncompared(sub, seq))
	x.remove(sub)
	sub.wake(seq)
}

// firstUncompared returns the number of the first event that a waiting subscription may not have been
// compared with; next if there is none.
func (x *waiterIndex) firstUncompared(sub *Subscription, next uint64) uint64 {
	if x.sweep.from == 0 {
		return next
	}
	return max(sub.pos, x.sweep.from)
}

// wakeAll wakes all subscriptions when the hub closes.
func (x *waiterIndex) wakeAll(next uint64) {
	for x.sweep.first != nil {
		x.release(x.sweep.first, next)
	}
}
