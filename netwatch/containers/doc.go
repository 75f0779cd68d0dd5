// Package containers finds the containers of the host by their cgroups: their states, and the owners of
// network namespaces. Make a [Tracker] with New, call Begin and Run for the states, and ask
// [Tracker.Owner] for an owner.
//
// # What it promises
//
//   - Never a wrong owner: an answer was true at one time during the call. See Owner.
//   - The state of a container is that of its cgroup.events. Containers whose manager reports states,
//     and those whose cgroups have no such file, have no state here. Changes that were missed are
//     found by comparing, and marked.
//   - The table in rules.go recognises a container by the path of its cgroup: a new runtime is a new
//     row there.
//   - A cgroup that was delegated to a user names that user's containers, in a pool of their own
//     (podman@1000), never a container of the system. The cgroups of one user share limits, so
//     they cost other users nothing.
//   - It enters no namespace, opens no files of a container, and holds no namespace.
//   - It needs no capability. [Tracker.Missing] returns what is missing.
//
// # How it works
//
// inotify watches the directories of the cgroup hierarchies (v2, and one of v1), down to the
// containers, but not inside them: a cgroup below a container's own names no container, because the
// outermost container counts. Directories that do not belong to root are watched by an inotify instance
// of their own, so a user who makes and removes cgroups without end overflows only that one. Limits
// count per user (quota.go). When a cgroup of a user goes away, cgroups of that user beyond a limit are
// looked for again.
//
// inotify reports a change of a cgroup.events: the first process came, the last one ended, or all
// of them were frozen. Cgroups of v1 have no such file. Of two cgroups with one name, such as an
// old and a new one, the one with processes counts.
//
// The kernel cannot find a namespace by its nsid. So the Tracker asks for the nsid of the network
// namespace of each container's init, which is pid 1 of a pid namespace right below ours, or else of its
// oldest process. It asks when the container shows up, again after pauses while
// the container has no nsid, and when processes enter its cgroup. [Tracker.Run] reports a changed nsid.
// Owner asks the container with the nsid again. If that fails, Owner searches: it asks all containers of the
// system at once, and queues those of users. Pauses bound the cost of both.
//
// If several containers share a namespace, the pod counts if the table has one, else the container
// with the oldest init. A name below /run/netns counts if no container has the namespace, unless a
// runtime generated the name.
package containers
