// Package links is the table of veths of one network namespace. Put in what the kernel says
// ([Table.Apply], [Table.Inside], [Table.Renumbered]), ask what [Table.Questions] wants to
// know, put the answers in ([Table.Answer]), and [Table.Take] returns the changes to announce,
// each with the row of the view that belongs to it.
//
// # What it promises
//
//   - Each transition is one change: up, down, rename. up and down alternate for an ifindex,
//     and a rename names as old what was the name before.
//   - A change has the owner that the interface had, or none: never another's.
//   - An up waits for its owner, for at most half a second, and what follows of the same
//     interface waits behind it. Other interfaces do not wait.
//   - What the cgroup says of the owner counts over a report. A report ([Table.Bind]) counts
//     where no container is found, before the name of a namespace, and until the veth goes.
//   - An interface and a container have budgets ([InterfaceBudget], [ContainerBudget]). What is beyond
//     is held, with its row, and the outcome is told when there is room, as after a loss: at
//     most a rename and then an up or down, the last of which says in Coalesced how many
//     changes were left out. Only the down of a deleted interface is told at once.
//   - Its size is bounded by how many links the kernel has.
//
// # How it works
//
// The Table is pure: no goroutine, no system call, and no clock but the one it is given. It
// is for one goroutine.
//
// A row has two faces: the interface as it is, and as the last change showed it. Every input
// sets the first, then tell makes the changes that lead from the second to the first, always
// in one order: a new name on the host, the end of being up with the owner that it was told
// with, a new name inside, being up with the owner from now on. A third face is the row of the view:
// it is another while changes wait for the owner, or for room.
//
// What was asked holds only for the peer that the row had then. Each row has an epoch that moves
// when the peer becomes another one, or may have (its namespace's id was given away,
// messages were lost), and an answer of an older epoch is dropped.
//
// # Budgets
//
// Each change takes a token of the interface's bucket, which goes with its row, and of its
// container's in [Budgets], whatever the ifindex. So a container gains nothing by new interfaces, by
// renaming or moving them, or by hiding whose they are: the last owner that was found pays. An
// interface that never had an owner draws on its own bucket only, because only the host can make
// one. Interfaces that go before their owner was found share one bucket. A row that leaves the
// view takes no token, because it took one when it came.
//
// A row without a token is throttled. Its changes are made and counted as always, but none is told
// until there may be a token. Then the row of the view is compared with the interface.
//
// # Dumps
//
// The records of a dump come in one queue with the live messages. The kernel makes both
// under one lock (RTNL) but queues a part of a dump after it let go of that (netlink_dump
// in net/netlink/af_netlink.c), so a newer live message may be in front of an older record. A
// record of a link that was told live since the dump was asked for therefore changes nothing,
// nor does one of a link that was deleted since, or with a peer in a namespace whose id was
// given away since. If such a record contradicts, Apply says that another dump is needed.
package links
