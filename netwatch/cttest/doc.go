// Package cttest gives tests real containers on a host of their own: LXC, podman,
// plain `ip netns`, and a booted systemd that can run systemd-nspawn.
//
// A [Host] is not a machine. It has a network namespace (see package nstest), a
// mount namespace, and a cgroup namespace whose root is a cgroup of its own at the
// top of the machine's cgroup2. In the mount namespace /sys belongs to the network
// namespace, /sys/fs/cgroup is a pure cgroup2 (or v1 or both, see [Cgroups]), and
// /run is empty. So commands of [Host.Command] see cgroup paths as on a machine of
// their own (/lxc.payload.NAME), two hosts may have containers of the same names,
// and no runtime sees another one or the machine's network. Processes, users and
// all other files are the machine's.
//
// The test itself is not in these namespaces. It finds the host's files below
// [Host.Path] and the host's cgroups below [Host.CgroupRoot]. In /proc/PID/cgroup it
// reads longer paths.
//
// The package needs root and a kernel with cgroup.kill (5.14). If a tool is missing,
// the test fails and names the Debian package to install.
//
// Nothing outlives the test, whether it ends or is killed. A shell in a session of
// its own, the reaper, waits for the end of its standard input, which the kernel
// closes when the test process dies. The reaper then kills the processes in the
// host's cgroup, and removes the cgroup and the host's directory. Mounts and the
// network namespace go with their last process.
package cttest
