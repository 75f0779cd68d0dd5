// Package hub takes events, numbers them, and hands them to subscribers.
// It knows neither D-Bus nor netlink.
//
// [New] makes a hub, [NewEvent] an event, [Hub.Commit] and [Hub.Submit] have it take a batch of
// them, [Hub.Subscribe] reads. [Hub.Interfaces] and [Hub.Containers] return the current state.
//
// # Promises
//
//   - Order: all subscribers see the same events in the same order, the order
//     of their sequence numbers. Numbers are consecutive and start at 1. Batches are numbered in
//     the order in which they were submitted.
//   - Loss: a subscriber that falls off the old end of the ring is told with a
//     [LappedError] that says how many numbers it lost, then goes on with the
//     oldest event that is left. It is never skipped in silence.
//   - Answered means kept: an answered commit is in the log, unless [Status] says that the log
//     has trouble.
//   - A snapshot ([Hub.Interfaces], [Hub.Containers]) and its cursor are of one instant: the
//     snapshot plus the events after the cursor is the current state.
//   - Memory is bounded by the ring ([Config].History events and [Config].HistoryBytes), by the
//     queue of commits, and by the views, however slow or many the subscribers are.
//   - An [Event] is immutable once committed, and refers to nothing of what it was made from. An
//     encoding of it is made once and kept with it, see [Event.Encoding].
//
// # One ring, many cursors
//
// The hub keeps the newest events in one ring. A [Subscription] is a [Filter] and a position in
// that ring, nothing more: there is no queue per subscriber, and a publisher never waits for one.
//
// Subscriptions that wait are indexed by what they can match (see index.go), so
// that an event costs those that want it and nobody else: ten thousand waiters
// for other containers add nothing to a commit. One commit wakes a few of them at
// most; where there are more, a sweep beside the commits wakes the rest.
//
// # Commits
//
// Batches wait in a bounded queue for the committer, a goroutine that is there while there is
// something to do. It numbers a batch, appends it to the log, and then, under the lock that
// readers take too, changes the views and the ring and wakes subscribers. So a slow disk holds
// up commits and nobody else; [Status] tells of it after a second. A write that is not back
// after five seconds is trouble: the committer is replaced by one that goes on without the log,
// and the goroutine that hangs keeps its file. Nobody waits for it, [Hub.Close] included.
//
// # The log
//
// [New] goes on from what the [Log] holds: numbers, views, the newest events, and the
// epoch, unless something may be missing that was announced. Each commit is one write.
// [Hub.Run] brings it to the disk, half a second after a commit at the latest.
//
// There is one way back from any trouble, be it a full disk, a write that hangs, or a sync that
// fails. The log is abandoned, events go on in memory, and [Status] says so. Run writes a new log
// from the ring and the views, which takes the place of the old one once it is on the disk; it
// tries that after a second, then more and more seldom, up to once a minute. The epoch stays, as
// nothing is missed: an event that the ring no longer has is Gone by its number.
//
// Before the first event that the log lacks is announced, the log notes that it is abandoned, so
// that a start that finds it begins another epoch. Otherwise a crash would give numbers
// twice. If it cannot note it, the epoch changes at once.
//
// # Not promised
//
// Events live in memory only unless a [Log] is configured, and then for as long
// as that log promises. Times are CLOCK_REALTIME and may go back; numbers do not.
//
// A change of a row of the view that is no event, as the name of a veth that was never
// up, does not move the cursor. After a reboot the view of containers has what was last
// before it, until netwatch announces that they stopped.
package hub
