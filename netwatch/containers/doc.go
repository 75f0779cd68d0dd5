// Package containers knows which containers there are and which of them run, by their cgroups, and
// whose a network namespace is. Make a [Tracker] with New, call Begin and Run, which tell the states,
// and ask [Tracker.Owner].
//
// # What it promises
//
//   - Never a wrong owner: an answer was true at one time during the call. See Owner.
//   - A state is what cgroup.events said, of each container but those whose manager reports. What was
//     missed is found by comparing, and marked. What the cgroups cannot know has no state.
//   - A container is recognised by the table in rules.go, by the path of its cgroup: a new
//     runtime is a new row there.
//   - A cgroup that a user was given names that user's containers, in a pool of their own
//     (podman@1000), never the system's. What one user's cgroups can make is bounded for all of
//     them together, and costs others nothing.
//   - It enters no namespace, opens no container's files, and holds no namespace.
//   - Nothing here needs a capability. [Tracker.Missing] says what lacks.
//
// # How it works
//
// Directories of the cgroup hierarchies (v2, and one of v1) are watched by inotify, down to the
// containers, which are not looked into: what they make in their own cgroup names nobody. The
// outermost container counts. Directories that do not belong to root are watched on an instance of
// their own, so that a user who makes and removes cgroups without end overflows only that. Limits count
// per user (quota.go); what is beyond them is looked for when others of that user's are gone.
//
// The kernel says through inotify when a cgroup.events changes: when the first process came, when the
// last one went, when all of them are frozen. Cgroups of v1 have no such file. Of two cgroups
// with one name, an old and a new one, the one that has processes counts.
//
// The kernel has no call from an nsid to a namespace. So the init of each container (pid 1 in a
// pid namespace right below ours, or the first process that has another network namespace) is
// asked for the nsid of its namespace when the container shows up, again after pauses while it
// has none, and when its cgroup says that processes came. [Tracker.Run] tells when the answer is another.
// Owner asks again for what it is asked about, and searches all containers if that does
// not do, at a bounded share of a processor.
//
// Of several containers in one namespace the pod counts where the table has it, else the one
// whose init is oldest. A name below /run/netns counts when no container has the namespace; names
// that runtimes generate do not.
package containers
