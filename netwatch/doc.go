// Package netwatch watches the veths of one network namespace and tells a
// [hub.Hub] what becomes of them: which went up or down, what they are called, and
// whose they are.
//
// # What holds
//
//   - The view of interfaces in the hub has a row for each veth, and each change of
//     a row is committed together with its events.
//   - Every transition that the kernel tells is announced once, in its order. What
//     happened while messages were lost is announced as its outcome, once, with the
//     option resync. up and down alternate for an ifindex, and a rename names as old
//     what was the name before.
//   - An event has the owner that the interface had, or none: never another's. The
//     events of one interface keep their order, also those of the end inside among
//     those of the end here.
//   - What the cgroup says of the owner counts over a report. Where it names nobody, the
//     report of a ct_netif with pool, id and veth counts until the veth goes, and the events
//     name the reporter: bound_by. The name inside is what the kernel says, if it does.
//   - A lone change is committed at once; changes that come together are committed
//     together. Only the up of an interface whose owner or name inside is not known
//     yet waits, and what follows of the same interface: for at most half a second.
//     Others are not delayed. When nothing happens nothing wakes up. While
//     more and more containers start, messages gather for 5 to 50 ms before they are read,
//     less if the receive buffer is small or an up has waited for long enough, and not at
//     all for 10 s after a namespace ended within 200 ms of when it came: see pauses.
//   - Nothing that the kernel sends ends the watcher, short of an error of the
//     socket that has no remedy.
//
// What happens and is undone while messages are lost is not seen; nor is a flip of
// the carrier of the other end that is shorter than the kernel's own delay before it
// tells (net/core/link_watch.c), unless the peer is renamed or moved meanwhile.
//
// A rename of a peer that is on the host too is an event of that peer; the name in
// the row of its other end follows without one. The table takes as much memory as
// the kernel has veths, and namespaces that they lead to.
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
// record changes nothing, and neither does one of a link that was deleted since, or
// whose peer is in a namespace whose id was taken away since; if
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
// # All namespaces
//
// The same socket hears the veths of all namespaces that have an id here
// (NETLINK_LISTEN_ALL_NSID), so what a container does to its end is in that queue
// too, where it happened. Of what containers say only that about the peers of links
// here counts. The name of a peer is asked for on this socket as well: the answer is
// made under the same lock, so it stands among the live messages where it is true, and
// from there on they tell. The kernel says that the end here lost its carrier some
// time after the other was set down; a rename of a peer that is down says it first.
//
// An id of a namespace is given to the next one when the last one dies. So what is
// known of a namespace hangs on an object and not on the number, and RTM_NEWNSID and
// RTM_DELNSID end it: a peer that is named later is another, even by the same numbers.
//
// Who owns a namespace is found by [Owners], which look at processes and so at the
// present, while the queue tells of the past. An answer of theirs is therefore followed by
// a mark in the queue (a request that is only acknowledged) and taken when
// that is read, if until then nothing was said of the id: then it had been one and the
// same namespace all the time. What managers report is taken behind such a mark, too.
//
// After a loss all this may have changed unheard. Rows keep what they had until the
// dump names their peers again, and then until the answers about these are there.
// Questions have answers that take room in the queue, so there is a limit on how many
// are outstanding, and it becomes lower with each loss.
//
// # Goroutines
//
// [Watcher.Run] is one goroutine, and all but [Watcher.Check], [Watcher.Settle],
// [Watcher.Missing] and [Watcher.Ready] belongs to it. It waits for nothing but the
// socket, and for messages to gather. It starts three others and waits for their end: one asks the kernel for
// names, as that may wait for RTNL; one calls the [Owners]; one follows the hub for
// reports. They touch nothing of the table.
package netwatch
