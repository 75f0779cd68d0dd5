// Package owner says which container the network namespace with a given nsid belongs
// to. The kernel has no call for that direction. So a map is built from the other
// side: for each container's cgroup a process is asked what nsid its namespace has.
//
// # What holds
//
//   - nsids are those of the namespace of the thread that called [New].
//   - An owner is what a process said that was in the container's cgroup afterwards,
//     and the same process all along. What was asked before a [Finder.Forget] does
//     not get into the map after it.
//   - No file of a foreign namespace is held, as it would keep the veths of a dead
//     container; that of a named one is, for the one query.
//   - Nothing here needs a capability. See [Finder.Missing] for what may lack still.
//   - What is known stays known until Forget, even when the cgroup is gone before
//     the namespace.
//
// # Whose it is
//
// The table in rules.go says which cgroups are containers'. The rules match at any
// depth, as slices and users' managers stand above containers, except for osctl's, which
// begins at the root. A user who was given a cgroup may make others in it that look
// like a container's; the outermost counts, so from within a container nobody looks
// like another one: docker in an LXC container is that LXC container, since what
// the host sees of it is the LXC container's veth. A kubelet in docker is docker's.
// As osctl's cgroups are around those of LXC the same order makes its rule win.
//
// The namespace of a container is that of its init: the process with pid 1 in a pid
// namespace right below ours. It is looked for from the top cgroup down, init.scope
// first. Without one, processes are asked in order until one has an nsid. Further
// namespaces in a container are found by the walk over all processes, if
// they have an nsid here at all, and are the outermost container's too.
//
// Of several containers that share a namespace the first one found has it. A cgroup
// wins over a name below /run/netns; names that runtimes give (cni-UUID,
// netns-UUID, UUID) count only when no cgroup came up within two seconds.
//
// # Walks and their pace
//
// A walk is made for an nsid that is not known, and learns what it comes by. First it asks
// the containers whose nsid was forgotten; then it looks for new cgroups,
// where one that is as it was costs one stat; then it checks the other containers by
// one query each; then it looks at names. It stops when it has what was asked for; when
// walks follow each other as soon as they may, only once all that is new was asked.
// Cgroups inside of a container's, beyond 16 levels or beyond 20,000 in a hierarchy
// are not walked.
//
// Walks may take a twentieth of a processor, so that no storm of foreign namespaces costs
// more. What they do not use is saved up, to 60 ms of processor time at most; beyond
// that a walk is followed by a rest of 20 times the rest of its cost. After any walk
// no other may start for 5 ms; when walks find nothing new, for 10, 20 and so on to 200 ms,
// which is short enough to try again while an event waits for its owner (500 ms). After
// a walk that found something new it is at most 200 ms.
//
// So a container that is gone within some 10 ms, in a crowd of others that start with
// it, may be gone before a walk sees it.
//
// The last resort is to ask about every process (some 7 µs each). It is for an nsid that
// a walk has failed to find before, and followed by a rest of 50 times what it
// took, and a second at least: a fiftieth of a processor.
//
// # Limits
//
// A container in the host's network namespace has no nsid and no owner. LXC appends
// -1 to the name of a cgroup that is taken, and that is in the id then. A container
// without a cgroup of its own (podman --cgroups=disabled) is recognised by the name of
// its namespace at best. Two ids that differ only beyond 255 bytes are the same.
package owner
