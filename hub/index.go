package hub

// The index of waiters answers one question for each event: which waiting
// subscriptions does it concern? Its cost must not depend on how many wait.
//
// A filter is a product of sets: type in {…} and id in {…} and so on. Each
// element of that product is a tuple that an event either has or has not, so a
// waiter is filed under all tuples of its filter, and an event looks itself up:
// once for each set of keys that any waiter names (at most 2^7, in practice two
// or three), with its own values under these keys. What is found matches; nobody
// else is touched.
//
// A filter with several long lists would be filed very often, so keys are taken into
// the tuples, those that tell events apart best first, only while their product stays
// within maxTuples; what is found is then held against the whole filter. One list
// always fits, so only a filter that passes everything is filed under no key.

// maxTuples bounds under how many tuples one waiter is filed.
const maxTuples = MaxFilterValues

// keySet is a set of filter keys, bit i for key i.
type keySet uint8

// tuple is the values of an event under a keySet; "" elsewhere.
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

// waiterIndex is guarded by the hub's lock.
type waiterIndex struct {
	lists map[tuple]*entry
	sets  map[keySet]int // how many entries use the set
}

func newWaiterIndex() waiterIndex {
	return waiterIndex{lists: map[tuple]*entry{}, sets: map[keySet]int{}}
}

// entriesFor makes the entries of a subscription, once in its life.
func entriesFor(sub *Subscription) []entry {
	set, count := keySet(0), 1
	for _, i := range [numKeys]int{keyID, keyVeth, keyName, keyPool, keySource, keyAction, keyType} {
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
		head := x.lists[e.tuple]
		e.prev, e.next = nil, head
		if head != nil {
			head.prev = e
		}
		x.lists[e.tuple] = e
	}
	x.sets[sub.entries[0].tuple.set] += len(sub.entries)
	sub.waiting = true
}

// remove takes a subscription out again.
func (x *waiterIndex) remove(sub *Subscription) {
	for i := range sub.entries {
		e := &sub.entries[i]
		if e.next != nil {
			e.next.prev = e.prev
		}
		switch {
		case e.prev != nil:
			e.prev.next = e.next
		case e.next != nil:
			x.lists[e.tuple] = e.next
		default:
			delete(x.lists, e.tuple)
		}
		e.prev, e.next = nil, nil // or it would keep subscriptions that ended
	}
	set := sub.entries[0].tuple.set
	if x.sets[set] -= len(sub.entries); x.sets[set] == 0 {
		delete(x.sets, set)
	}
	sub.waiting = false
}

// wake wakes all subscriptions that wait for e, and takes them out.
func (x *waiterIndex) wake(e *Event) {
	for set := range x.sets {
		t := tuple{set: set}
		for i := range numKeys {
			if set&(1<<i) != 0 {
				t.values[i] = e.keys[i]
			}
		}
		for at := x.lists[t]; at != nil; {
			sub, next := at.sub, at.next
			if sub.filter.matchKeys(&e.keys) {
				x.remove(sub)
				sub.wake(e.Seq)
			}
			at = next
		}
	}
}

// wakeAll wakes everybody, as the hub closes.
func (x *waiterIndex) wakeAll(seq uint64) {
	for _, at := range x.lists {
		for at != nil {
			sub, next := at.sub, at.next
			if sub.waiting {
				x.remove(sub)
				sub.wake(seq)
			}
			at = next
		}
	}
}
