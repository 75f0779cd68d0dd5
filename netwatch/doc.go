// Package netwatch watches the veths of one network namespace and the containers of the host, and
// tells a [hub.Hub] what becomes of them: which veths went up or down, what they are called, and whose
// they are; which containers run, are frozen, or stopped. Make a [Watcher] with New and call Run;
// [Watcher.Ready] says when the hub's view has all veths.
//
// # What it promises
//
//   - The view of interfaces in the hub has a row for each veth, and each change of a row is
//     committed together with its events.
//   - Every transition that the kernel tells is announced once, in its order. What happened
//     while messages were lost, or while the service was down, is announced as its outcome, once,
//     with the option resync. So is what changes faster than the budget of its interface or its
//     container (package links), with the option coalesced. Its row changes with the event.
//   - An event has the owner that the interface had, or none: never another's. What the
//     cgroup says of the owner counts over a report; an owner that only a report told is marked
//     with bound_by.
//   - A state of a container is announced unless the hub's view has it already, whoever reported it. The
//     view has all states that the cgroups say when New returns.
//   - The running of a container comes before the up of its first interface, where its owner is found
//     by a cgroup of v2.
//   - Only the up of an interface whose owner is not known yet waits, for at most half a second,
//     and what follows of the same interface. Others are not delayed.
//   - When nothing happens nothing wakes up.
//   - Nothing that the kernel sends ends the watcher, short of an error of the socket that has
//     no remedy.
//
// What happens and is undone while messages are lost is not seen; nor is a flip of the carrier
// of the other end that is shorter than the kernel's own delay before it tells
// (net/core/link_watch.c). A rename of a peer that is on the host too is an event of that peer;
// the name in the row of its other end follows without one.
//
// # How it works
//
// [Watcher.Run] is one loop in one goroutine. Each turn reads what the kernel has queued
// (package rtnl) into the table (package links), asks what the table wants to know, and commits
// the changes that the table made. Another goroutine follows the hub for reports.
//
// States come from the Owners by a queue that keeps, of a container that changes too often, only the
// outcome (states.go).
//
// Questions (what is the peer called, whose is it) are asked when the queue is empty, or 100 ms
// after they came up, so that a flood does not put them off for good. They are asked about the
// present, while the queue tells of the past. So an answer is taken only after all that the
// kernel had queued by then is applied, and only if none of it made the peer another one.
//
// # Loss
//
// The dump is asked for on the socket that listens, so its records come in one queue with the
// live messages, and there is nothing to replay or to set aside. After an overrun the kernel
// drops messages until the queue was empty (NETLINK_S_CONGESTED in
// net/netlink/af_netlink.c). A dump that is asked for earlier could be outdated unheard, so it
// is asked for only then, and compared with the table. Links that it does not have are gone
// only if it was whole: not interrupted, and nothing lost since it was asked for. Otherwise
// another one follows, with a back-off of at most half a second.
package netwatch
