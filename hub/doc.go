// Package hub takes events, numbers them, and hands them to subscribers.
// It knows neither D-Bus nor netlink.
//
// [New] returns a hub. [NewEvent] makes an event, [Hub.Commit] and [Hub.Submit] commit a batch of
// them, and [Hub.Subscribe] reads them. [Hub.Interfaces] and [Hub.Containers] return the current
// state.
//
// # Promises
//
//   - Order: all subscribers see the same events in the same order, that of their sequence
//     numbers. Numbers are consecutive and start at 1. Batches are numbered in the order in which
//     they were submitted.
//   - Loss: a subscriber that is too slow for the ring gets a [LappedError], which says which
//     numbers it lost, and continues with the oldest event that is kept. No event is skipped in
//     silence.
//   - Answered means kept: an answered commit is in the log, unless [Status] says that the log
//     has trouble.
//   - A snapshot ([Hub.Interfaces], [Hub.Containers]) and its cursor are of one instant: the
//     snapshot plus the events after the cursor is the current state.
//   - Memory is bounded by the ring ([Config].History events and [Config].HistoryBytes), by the
//     queue of commits, and by the views, however slow or many the subscribers are.
//   - An [Event] is immutable once committed, and shares no memory with what it was made from. It
//     is encoded once, see [Event.Encoding].
//
// # One ring, many cursors
//
// The hub keeps the newest events in one ring. A [Subscription] is a [Filter] and a position in
// that ring: it has no queue, and a publisher never waits for it.
//
// Waiting subscriptions are indexed by what they can match (see index.go), so an event costs only
// the subscriptions that want it: waiters for other containers add nothing to a commit. A commit wakes a few waiters at most; if there are more, a sweep in the background wakes
// the rest.
//
// # Commits
//
// Batches wait in a bounded queue for the committer, a goroutine that runs while the queue is not
// empty. It numbers a batch, appends it to the log, and then, under the lock that readers take
// too, changes the views and the ring and wakes subscribers. So a slow disk delays commits and
// nothing else; [Status] reports it after a second. A write or a sync that has not returned after
// five seconds is trouble: another committer continues without the log, and the goroutine that
// hangs keeps its file. Nobody waits for it, [Hub.Close] included.
//
// # The log
//
// [New] continues from what the [Log] holds: numbers, views, the newest events, and the epoch,
// unless an event may be missing that was published. Each commit is one write. [Hub.Run] syncs
// the log, half a second after a commit at the latest.
//
// There is one way back from any trouble, be it a full disk, a write that hangs, or a sync that
// fails. The hub abandons the log, continues in memory, and [Status] says so. Run writes a new log
// from the ring and the views, which replaces the old one once it is on the disk. It tries that
// after a second, then with a delay that doubles up to a minute. The epoch stays, because the new
// log lacks at most the oldest events of the ring, and cursors before those are Gone then.
//
// Before the hub publishes the first event that the log lacks, it marks the log as abandoned. A
// start that finds the mark begins another epoch; otherwise it would give the numbers of these
// events again. If the mark cannot be written, the epoch changes at once.
//
// A log that cannot be read, or not in time because the disk hangs, is trouble, too: the hub starts
// in memory, in a new epoch, and marks that log as soon as the disk lets it.
//
// # Not promised
//
// Without a [Log], events live in memory only; with one, for as long as that log promises. Times
// are CLOCK_REALTIME and may go back; numbers do not.
//
// A change of a row of the view that is no event, such as the name of a veth that was never up,
// does not move the cursor. After a reboot the view of containers has the states from before it,
// until netwatch announces that they stopped.
package hub
