package hub

// The index of waiters finds the waiting subscriptions that an event may match. Its cost does not
// depend on the number of waiters.
//
// A filter is a product of sets: type in {…} and id in {…} and so on. Each element of that product is
// a tuple of values. A waiter is filed under tuples of its filter. For an event there is one lookup
// for each set of keys that any waiter uses (at most 2^8, in practice two or three), with the event's
// values for these keys.
//
// Filing is done under the hub's lock, so a waiter has at most maxTuples tuples. Keys are added to the
// tuples, the most selective ones first, while the product fits; a filter of long lists is filed under
// few keys, or none. So a commit compares each waiter it finds with the whole filter.
//
// A commit compares at most maxDirect waiters, and one more for each of its events. If there are more,
// it only records the number of its event, and a sweep compares all waiters with all events from that
// number on, a few at a time (see sweep.go). So any number of readers cannot delay reports.

const (
	maxTuples = 16 // of one waiter
	maxDirect = 16 // waiters that one commit compares, plus one for each event
)

// keySet is a set of filter keys, bit i for key i.
type keySet uint8

// tuple has the values of an event for the keys of a set; "" for other keys.
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

// entryList has the entries of one tuple.
type entryList struct {
	first *entry
	n     int
}

// waiterIndex is guarded by the hub's lock.
type waiterIndex struct {
	lists  map[tuple]*entryList
	sets   map[keySet]int // number of entries by set
	budget int            // waiters that this commit may still compare
	sweep  sweep
}

func newWaiterIndex() waiterIndex {
	return waiterIndex{lists: map[tuple]*entryList{}, sets: map[keySet]int{}}
}

// makeEntries makes the entries of a subscription. Each subscription keeps its own.
func makeEntries(sub *Subscription) []entry {
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
		e.prev, e.next = nil, nil // not to keep ended subscriptions in memory
	}
	set := sub.entries[0].tuple.set
	if x.sets[set] -= len(sub.entries); x.sets[set] == 0 {
		delete(x.sets, set)
	}
	x.sweep.unlink(sub)
	sub.waiting = false
}

// wake wakes and removes the subscriptions that wait for e. If there may be more of them than this
// commit may compare, it leaves the others to the sweep.
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
