// Package hub takes events, numbers them, and hands them to whoever follows.
// It knows neither D-Bus nor netlink.
//
// # One ring, many cursors
//
// The hub keeps the newest events in one ring. A [Subscription] is a [Filter]
// and a position in that ring, nothing more: there is no queue per subscriber.
// From this follow all the promises of the package:
//
//   - [Hub.Commit] is the only way in. Under one lock it numbers the events,
//     appends them to the log, updates the views and the ring, and wakes the
//     subscribers that wait for them. It never waits for a subscriber.
//   - Order: all subscribers see the same events in the same order, the order
//     of their sequence numbers. Numbers are consecutive and start at 1.
//   - Loss: a subscriber that falls off the old end of the ring is told with a
//     [LappedError] that says how many numbers it lost, then goes on with the
//     oldest event that is left. It is never skipped in silence.
//   - Memory is bounded by the ring ([Config].History events and
//     [Config].HistoryBytes), however slow or many the subscribers are.
//   - A snapshot ([Hub.Interfaces], [Hub.Containers]) and its cursor are taken
//     under the same lock as commits: the snapshot plus the events after the
//     cursor is the current state.
//   - An [Event] is immutable once committed. An encoding of it is made once
//     and kept with it, see [Event.Encoding].
//
// # The log
//
// [New] goes on from what the [Log] holds: numbers, views, the newest events, and the
// epoch, unless something may be missing that was announced. A log that cannot be
// written stops nothing. Events go on in memory, [Status] says so, and [Hub.Run] tries
// again each second (more seldom where it can be written, but not synced). Then what the
// log lacks is written from the ring, so that the epoch stays: what the ring no longer has
// is Gone by its number alone. If there is no room, the log gives up its oldest events
// before its newest ones.
//
// # Waiting
//
// Subscriptions that wait are indexed by what they can match (see index.go), so
// that an event costs those that want it and nobody else: ten thousand waiters
// for other containers add nothing to a commit. One commit wakes a few of them at
// most; where there are more, a sweep beside the commits wakes the rest.
//
// # What is not promised
//
// Events live in memory only unless a [Log] is configured, and then for as long
// as that log promises. Times are CLOCK_REALTIME and may go back; numbers do not.
//
// A change of a row of the view that is no event, as the name of a veth that was never
// up, does not move the cursor. After a reboot the view of containers still has what was
// reported last before it: only who runs them knows better.
package hub
