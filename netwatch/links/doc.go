// Package links is the table of veths of one network namespace. Feed it the messages of the kernel
// ([Table.Apply], [Table.Inside], [Table.Renumbered]) and the answers ([Table.Answer]) to its questions
// ([Table.Questions]). [Table.Take] returns the changes to announce, each with its row of the view.
//
// # What it promises
//
//   - Each transition is one change: up, down, rename. up and down alternate for an ifindex, and the
//     old name of a rename is the one that was announced before.
//   - A change has the owner that the interface had, or none: never a wrong one.
//   - An up waits for its owner, for at most half a second, and later changes of the same
//     interface wait behind it. Other interfaces do not wait.
//   - An owner that a cgroup names counts before a report ([Table.Bind]), and a report before the name
//     of a namespace. A report counts until the veth is deleted.
//   - Interfaces and containers have budgets ([InterfaceBudget], [ContainerBudget]). Changes over
//     budget are throttled with their row. When the budget allows, their outcome is announced, as
//     after a loss: at most a rename and then an up or down. Coalesced of the last one is the number
//     of changes that were left out. The down of a deleted interface is never throttled.
//   - The size of the Table is bounded by the number of links that the kernel has.
//
// # How it works
//
// The Table is pure: no goroutine, no system call, and no clock but the one it is given. It
// is for one goroutine.
//
// A row has three versions of its interface: the current one, the one that the last emitted change has,
// and the one that the last published change has, which is the row of the view. Every input sets the
// first. Then emitChanges emits the changes that lead from the second to the first, always in this order:
// a new name on the host, a down with the owner that was announced, a new name inside, an up with the
// current owner. Emitted changes are published at once, unless they are held until the owner is known,
// or throttled because they are over budget.
//
// An answer holds only for the peer that the row had when the question was asked. Each row has an epoch
// that moves when the peer was replaced, or may have been (the id of its namespace was reused, or
// messages were lost). An answer of an older epoch is dropped.
//
// # Budgets
//
// Each change takes a token from the bucket of the interface, which is part of its row, and one from the
// bucket of its container in [Budgets], whatever the ifindex. A change without an owner charges the last known
// owner. So new interfaces, renames, moves and hiding gain a container nothing. An interface that never had an
// owner draws only on its own bucket, because only the host can make one. Interfaces that are deleted before their
// owner was found share one bucket. A row that leaves the view takes no token, because it took one when it came.
//
// A row without a token is throttled: its changes are only counted. When there may be a token, the row
// of the view is compared with the interface, and the difference is announced.
//
// # Dumps
//
// The records of a dump come in one queue with the live messages. The kernel makes both
// under one lock (RTNL), but queues a part of a dump after it released the lock (netlink_dump
// in net/netlink/af_netlink.c), so a newer live message may be in front of an older record.
// Therefore a record changes nothing if, since the dump was asked for, a live message came for its
// link, the link was deleted, or the id of its peer's namespace was reused. If such a record
// contradicts the Table, Apply reports that another dump is needed.
package links
