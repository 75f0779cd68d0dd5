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
// # Looks, walks and their pace
//
// What is asked about is the present: a container that is gone cannot be asked any more, and
// the kernel keeps nothing of whose its namespace was. So all depends on asking at
// once, and on that being quick however many containers there are.
//
// Find for an nsid that is not known looks at what is new: first it asks containers whose init
// is known and had no nsid yet; then it reads what inotify watches tell of cgroups that
// were made, and asks those that are containers'; then those whose nsid was forgotten. With
// 500 containers that are not new this is some 30 µs, and 100 to 300 for a new one. The
// watches are read by Find alone, so cgroups that come and go wake nobody. They are on
// cgroups that are no container's, and on those of which the table in rules.go says that
// they last, never in what a container is given.
//
// If that did not find it Find walks: over all cgroups, as long as not all are watched;
// it checks the other containers by one query each; it looks at names. It learns what it
// comes by. Cgroups inside of a container's, beyond 16 levels or beyond 20,000 in a hierarchy
// are not walked. The last resort, for an nsid that was not found before, is
// to ask about every process (some 7 µs each).
//
// Looks may take a twentieth of a processor, and so may walks, so that no storm of foreign
// namespaces costs more. What they do not use is saved up, to 60 ms of processor time at
// most; beyond that a rest of 20 times the rest of the cost follows. To look for a namespace the
// first time needs no other rest, to look again one of 1 to 10 ms, as more and
// more are in vain. Half a millisecond for each owner that is found is free: that is work
// done once, and about a hundredth of what the start of a container costs. Walks
// rest 5 ms at least; when they find nothing new 10, 20 and so on to 200 ms,
// which is short enough to try again while an event waits for its owner (500 ms). After
// a walk that found something new it is at most 200 ms. After the last resort it
// is 50 times what it took, and a second at least: a fiftieth of a processor.
//
// So what has no owner in the end is a container whose init dies before this process
// gets a processor after its veth was given to it. Of 200 LXC containers that were started
// 8 at a time and killed as soon as they ran, on two processors with a load of 8 to 17,
// that were 0 to 5 at ordinary priority, at most 1 at nice -10, and none at chrt --rr. Of
// those that lived for 0.1 to 1 s it was none at ordinary priority.
//
// A walk that comes by 64 new cgroups or more has others help with asking, one on each
// further processor, three at most. That makes the first walk over a host with many
// containers, where nothing is known yet, a quarter to a half shorter on two
// processors. The processor time of all of them counts.
//
// # Limits
//
// A container in the host's network namespace has no nsid and no owner. LXC appends
// -1 to the name of a cgroup that is taken, and that is in the id then. A container
// without a cgroup of its own (podman --cgroups=disabled) is recognised by the name of
// its namespace at best. Two ids that differ only beyond 255 bytes are the same.
package owner
