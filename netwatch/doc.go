// Package netwatch watches the veths of one network namespace and tells a
// [hub.Hub] what becomes of them: which went up or down, and what they are called.
//
// # What holds
//
//   - The view of interfaces in the hub has a row for each veth, and each change of
//     a row is committed together with its events.
//   - Every transition that the kernel tells is announced once, in its order. What
//     happened while messages were lost is announced as its outcome, once, with the
//     option resync. up and down alternate for an ifindex, and a rename names as old
//     what was the name before.
//   - A lone change is committed at once; changes that come together are committed
//     together. When nothing happens nothing wakes up.
//   - Nothing that the kernel sends ends the watcher, short of an error of the
//     socket that has no remedy.
//
// What happens and is undone while messages are lost is not seen; nor is a flip of
// the carrier of the other end that is shorter than the kernel's own delay before it
// tells (net/core/link_watch.c), nor a peer's move from one foreign namespace to
// another until something else is said of the link.
//
// A rename of a peer that is on the host too is an event of that peer; the name in
// the row of its other end follows without one. The table takes as much memory as
// the kernel has veths.
//
// # One queue
//
// The dump is asked for on the socket that listens, so that its records come in one
// queue with the live messages, and every message goes through the same apply in
// the order in which it comes. The kernel makes live messages and parts of a dump
// under one lock (RTNL), so a live message behind a record is newer than the record:
// there is nothing to replay, to set aside or to compare by time. Two things keep
// this from being the whole truth.
//
// First, the kernel queues a part of a dump after it let go of the lock
// (netlink_dump in net/netlink/af_netlink.c), so a live message that is newer than
// the part may get in front of it. But as long as nothing is lost a record cannot
// know more of a link than a live message of it that was read since the dump was
// asked for: what changed in between would have been said live as well. So such a
// record changes nothing, and neither does one of a link that was deleted since; if
// it contradicts, another dump is asked for, as what moves unheard (see above) might
// be the cause.
//
// Second, a socket that overran says ENOBUFS once, and then the kernel drops all live
// messages until the queue has been empty (NETLINK_S_CONGESTED, same file). A
// dump that is asked for earlier could be outdated unheard, so it is asked for only
// when the queue is empty. From then on anything that is lost says ENOBUFS again.
//
// Links that a dump did not have are gone only if the dump was whole: not interrupted
// (NLM_F_DUMP_INTR), and nothing lost since it was asked for. Otherwise another one
// follows, with a back-off of at most half a second.
//
// # Goroutines
//
// [Watcher.Run] is one goroutine, and all but [Watcher.Check], [Watcher.Settle] and
// [Watcher.Ready] belongs to it.
package netwatch
