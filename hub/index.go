package hub

// The index of waiters answers one question for each event: which waiting
// subscriptions does it concern? Its cost must not depend on how many wait.
//
// A filter is a product of sets: type in {…} and id in {…} and so on. Each
// element of that product is a tuple that an event either has or has not, so a
// waiter is filed under tuples of its filter, and an event looks itself up:
// once for each set of keys that any waiter names (at most 2^8, in practice two
// or three), with its own values under these keys.
//
// Filing is work under the hub's lock, so a waiter is filed under maxTuples at
// most. Keys are taken into the tuples, those that tell events apart best first,
// while the product fits; a filter of long lists is filed under fewer keys, or
// under none. So what an event finds is held against the whole filter.
//
// A commit looks at maxDirect waiters at most, and one more for each of its events.
// Where there are more, it only notes the number of its event, and a sweep compares
// all waiters with all events from that number on, a few at a time (see sweep.go).
// So readers, however many, cannot hold up reports.

const (
	// maxTuples is how many tuples one waiter is filed under at most.
	maxTuples = 16
	// maxDirect is how many waiters one commit compares at most, beside one for each event.
	maxDirect = 16
)

// keySet is a set of filter keys, bit i for key i.
type keySet uint8

// tuple is the values of an event for the keys of a set; "" for other keys.
type tuple struct {
	set    keySet
	values [numKeys]string
}

// entry files one subscription under one tuple, in a doubly linked list.
type entry struct {
	sub        *Subscription
	prev, next *entry
	tuple      tuple
}

// entryList is the entries of one tuple.
type entryList struct {
	first *entry
	n     int
}

// waiterIndex is guarded by the hub's lock.
type waiterIndex struct {
	lists  map[tuple]*entryList
	sets   map[keySet]int // how many entries use the set
	direct int            // how many waiters this commit may still compare
	sweep  sweep
}

func newWaiterIndex() waiterIndex {
	return waiterIndex{lists: map[tuple]*entryList{}, sets: map[keySet]int{}}
}

// entriesFor makes the entries of a subscription, once in its life.
func entriesFor(sub *Subscription) []entry {
	set, count := keySet(0), 1
	for _, i := range [numKeys]int{keyID, keyVeth, keyName, keyCtName, keyPool, keySource, keyAction, keyType} {
		if n := len(sub.filter.values[i]); n > 0 && count*n <= maxTuples {
			set |= 1 << i
			count *= n
		}
	}
	entries := make([]entry, count)
	for n := range entries {
		t := tuple{set: set}
		rest := n
		for i := range numKeys {
			if set&(1<<i) != 0 {
				values := sub.filter.values[i]
				t.values[i] = values[rest%len(values)]
				rest /= len(values)
			}
		}
		entries[n] = entry{sub: sub, tuple: t}
	}
	return entries
}

// add files a subscription.
func (x *waiterIndex) add(sub *Subscription) {
	for i := range sub.entries {
		e := &sub.entries[i]
		list := x.lists[e.tuple]
		if list == nil {
			list = &entryList{}
			x.lists[e.tuple] = list
		}
		e.prev, e.next = nil, list.first
		if list.first != nil {
			list.first.prev = e
		}
		list.first = e
		list.n++
	}
	x.sets[sub.entries[0].tuple.set] += len(sub.entries)
	x.sweep.push(sub)
	sub.waiting = true
}

// remove removes a subscription.
func (x *waiterIndex) remove(sub *Subscription) {
	for i := range sub.entries {
		e := &sub.entries[i]
		list := x.lists[e.tuple]
		if e.next != nil {
			e.next.prev = e.prev
		}
		if e.prev != nil {
			e.prev.next = e.next
		} else {
			list.first = e.next
		}
		if list.n--; list.n == 0 {
			delete(x.lists, e.tuple)
		}
		e.prev, e.next = nil, nil // or it would keep ended subscriptions in memory
	}
	set := sub.entries[0].tuple.set
	if x.sets[set] -= len(sub.entries); x.sets[set] == 0 {
		delete(x.sets, set)
	}
	x.sweep.unlink(sub)
	sub.waiting = false
}

// wake wakes the subscriptions that wait for e, and removes them. If there may be more of them
// than this commit may compare, it leaves the rest to the sweep.
func (x *waiterIndex) wake(e *Event) {
	for set := range x.sets {
		t := tuple{set: set}
		for i := range numKeys {
			if set&(1<<i) != 0 {
				t.values[i] = e.keys[i]
			}
		}
		list := x.lists[t]
		if list == nil {
			continue
		}
		if list.n > x.direct {
			x.sweep.note(e.Seq)
			continue
		}
		x.direct -= list.n
		for at := list.first; at != nil; {
			sub, next := at.sub, at.next
			if sub.filter.matchKeys(&e.keys) {
				x.release(sub, e.Seq)
			}
			at = next
		}
	}
}

// release removes a subscription and wakes it for event seq, or for an earlier one that it was not
// compared with yet.
func (x *waiterIndex) release(sub *Subscription, seq uint64) {
	seq = min(seq, x.compared(sub, seq))
	x.remove(sub)
	sub.wake(seq)
}

// compared returns the number of the first event that a waiting subscription may not have been
// compared with, next if there is none.
func (x *waiterIndex) compared(sub *Subscription, next uint64) uint64 {
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
