// Package netwatch watches the veths of one network namespace and the containers of the host, and
// commits their changes to a [hub.Hub]: which veths went up or down, their names and their owners, and
// which containers run, are frozen, or stopped. Make a [Watcher] with New and call Run; [Watcher.Ready]
// is closed when the hub's view has all veths.
//
// # What it promises
//
//   - The view of interfaces in the hub has a row for each veth, and each change of a row is
//     committed together with its events.
//   - Every transition that the kernel reports is announced once, in the kernel's order. Changes while
//     messages were lost, or while the service was down, are announced once by their outcome, with
//     the option resync. So are changes over the budget of an interface or a container (package
//     links), with the option coalesced. The row changes together with the event.
//   - An event has the owner that the interface had, or none: never a wrong one. An owner that a
//     cgroup names counts before one that a report names. An owner that only a report names is
//     marked with bound_by.
//   - A state of a container is announced unless the hub's view has it already, whoever reported it.
//     When New returns, the view has the states of all cgroups.
//   - If a cgroup of v2 names the owner, the running of a container comes before the up of its first
//     interface.
//   - The up of an interface whose owner is not known yet waits for at most half a second, and the
//     later changes of the same interface wait behind it. Other interfaces do not wait.
//   - While nothing happens, nothing wakes up.
//   - No message of the kernel ends the watcher. Only an error of the socket that cannot be repaired
//     does.
//
// The watcher does not see a change that is undone while messages are lost, nor a change of a carrier
// that is shorter than the delay before the kernel reports carriers (net/core/link_watch.c). If both
// ends of a pair are on the host, the rename of one end is an event of that end. The row of the other
// end gets the new name without an event.
//
// # How it works
//
// [Watcher.Run] is one loop in one goroutine. Each turn reads what the kernel has queued
// (package rtnl) into the table (package links), asks the questions of the table, and commits
// the changes that the table made. Another goroutine follows the hub for reports.
//
// The Owners report states into a queue. If a container changes too often, the queue keeps only the
// outcome (states.go).
//
// Questions (the name of a peer, its owner) are asked when the queue is empty, or 100 ms after they
// came up, so that a flood cannot delay them forever. An answer is newer than the messages in the
// queue. So it counts only after all messages that the kernel had queued by then are applied, and only
// if none of them replaced the peer.
//
// # Loss
//
// The watcher asks for a dump on the socket that listens, so the records of the dump come in one queue
// with the live messages, and none has to be replayed. After an overrun the kernel drops messages until
// the queue is empty (NETLINK_S_CONGESTED in net/netlink/af_netlink.c), so a dump before that could be
// outdated without notice. The watcher asks for one when the queue is empty, and compares it with the
// table.
// Links that the dump lacks are gone only if the dump was complete: it was not interrupted, and no
// message was lost since it was asked for. Otherwise another dump follows after a pause.
//
// The watcher never waits for the hub. If the hub's queue is full, the hub's view lacks what the watcher
// would commit. When the queue has room again, the table announces what the view lacks, by its outcome. States
// wait.
package netwatch
