// Package hub numbers events, keeps the newest ones, and delivers them to subscribers. It knows
// neither D-Bus nor netlink.
//
// [New] returns a hub. Make an event with [NewEvent], commit a batch of them with [Hub.Commit] or
// [Hub.Submit], and read them with [Hub.Subscribe]. [Hub.Interfaces] and [Hub.Containers] return
// the current state.
//
// # Promises
//
//   - Order: all subscribers see the same events, in the order of their sequence numbers. Numbers
//     are consecutive and start at 1. Batches are numbered in the order of submission.
//   - Loss: no event is skipped in silence. A subscriber that is too slow for the ring gets a
//     [LappedError] with the numbers it lost, and continues with the oldest event that is kept.
//   - Answered means kept: an answered commit is in the log, unless [Status] reports a problem
//     with the log.
//   - A snapshot ([Hub.Interfaces], [Hub.Containers]) and its cursor belong to the same instant:
//     the snapshot plus the events after the cursor is the current state.
//   - Memory is bounded by the ring ([Config].History events and [Config].HistoryBytes), by the
//     queue of commits, and by the views, however slow or many the subscribers are.
//   - An [Event] is immutable once committed, and shares no memory with the message it came from.
//     It is encoded once, see [Event.Encoding].
//
// # One ring, many cursors
//
// The hub keeps the newest events in one ring. A [Subscription] is a [Filter] and a position in
// that ring: it has no queue, and a publisher never waits for it.
//
// Waiting subscriptions are indexed by the events they can match (see index.go), so waiters for
// other containers add nothing to a commit. A commit wakes a few waiters at most; if there are
// more, a sweep in the background wakes the rest.
//
// # Commits
//
// Batches wait in a bounded queue for the committer, a goroutine that runs while the queue is not
// empty. It numbers a batch and appends it to the log. Then, under the lock shared with readers, it
// changes the views and the ring and wakes subscribers. So a slow disk delays only commits;
// [Status] reports it after a second. A write or a sync that has not returned after five seconds
// counts as failed: another committer continues without the log, and the goroutine that hangs
// keeps its file. Nobody waits for it, [Hub.Close] included.
//
// # The log
//
// [New] restores numbers, views and the newest events from the [Log]. It keeps the epoch, unless a
// published event may be missing. Each commit is one write. [Hub.Run] syncs the log, half a second
// after a commit at the latest.
//
// Every failure of the log (a full disk, a write that hangs, a failed sync) is handled in one way.
// The hub abandons the log, continues in memory, and [Status] says so. Run writes a new log from
// the ring and the views; it replaces the old one once it is on the disk. Run tries after a second,
// then with a delay that doubles up to a minute. The epoch stays: the new log lacks at most the
// oldest events of the ring, and cursors before those are Gone.
//
// Before the hub publishes an event that the log lacks, it marks the log as abandoned. A start that
// finds the mark begins another epoch, because it would reuse the numbers of the lost events. If
// the mark cannot be written, the epoch changes at once.
//
// If the log cannot be read, or the disk hangs, the hub starts in memory, in a new epoch. It marks
// that log as soon as the disk responds.
//
// # Not promised
//
// Without a [Log], events live in memory only. Times are CLOCK_REALTIME and may go back; numbers do
// not.
//
// Some changes of an interface's row are no event, such as the name of a veth that was never up;
// they do not move the cursor. After a reboot the view of containers has the states from before it,
// until netwatch announces that they stopped.
package hub
