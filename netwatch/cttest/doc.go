// Package cttest gives tests real containers on a host of their own: LXC, podman,
// plain `ip netns`, and a booted systemd that can run systemd-nspawn.
//
// A [Host] is not a machine. It is a fresh network namespace (see package nstest)
// with a mount namespace around it, in which /sys is that of the network namespace,
// /sys/fs/cgroup a pure cgroup2 (or v1 or both, see [Cgroups]), and /run is empty; and a cgroup of its own at the
// top of the machine's cgroup2, which is the root of a cgroup namespace. So what
// runs on it through [Host.Command] sees cgroup paths as on a machine of its own
// (/lxc.payload.NAME), two hosts may have containers of the same names, and no
// runtime meets another one, nor the machine's network. Processes, users and all
// other files are the machine's.
//
// The test itself is not in these namespaces. It finds the host's files below
// [Host.Path], its cgroups below [Host.CgroupRoot], and reads longer paths in
// /proc/PID/cgroup: see [Host.CgroupOf].
//
// It wants root and a kernel with cgroup.kill (5.14). What is missing fails the
// test with the Debian package to install.
//
// Nothing outlives the test, whether it ends or is killed: a shell in a session of
// its own waits for its standard input to end, which the kernel sees to when the test
// process dies. It then kills what is in the host's cgroup and removes that and the
// host's directory. Mounts and the network namespace go with their last process.
package cttest
