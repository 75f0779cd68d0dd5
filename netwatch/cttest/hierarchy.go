package cttest

// Cgroups is how a host has its cgroups mounted.
type Cgroups string

// The layouts of systemd: with V2 /sys/fs/cgroup is a cgroup2, else it is a tmpfs with
// hierarchies in it. The only hierarchy of v1 is name=systemd, because it can always be
// mounted, even if cgroup2 has the controllers.
const (
	V2     Cgroups = "v2"
	V1     Cgroups = "v1"     // systemd
	Hybrid Cgroups = "hybrid" // systemd and unified
)

// joinScript makes a cgroup $2 in the hierarchy of v1, if the Cgroups $1 have one, and joins it,
// because it must be the root of the next cgroup namespace. Then it runs the other arguments.
const joinScript = `set -eu
if [ $1 != v2 ]; then
	mount -t cgroup -o none,name=systemd cgroup /mnt
	mkdir /mnt/$2
	echo $$ >/mnt/$2/cgroup.procs
	umount /mnt
fi
shift 2
exec "$@"
`

// leaveScript removes the cgroup $2 in the hierarchy of v1, if the Cgroups $1 have one.
const leaveScript = `[ $1 = v2 ] || unshare --mount -- /bin/sh -c '
	mount -t cgroup -o none,name=systemd cgroup /mnt
	find "/mnt/$1" -depth -type d -exec rmdir -- {} +' cttest-reaper "$2"
`

// mountScript mounts the Cgroups $1, and moves the host's init to the cgroup init.scope of v2.
// All processes stay in a cgroup of v2 as well, because the reaper kills them there.
const mountScript = `case $1 in
v2)
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	unified=/sys/fs/cgroup
	printf '0::/\n' >/run/cttest-cgroup
	;;
*)
	mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
	mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
	mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
	unified=/sys/fs/cgroup/unified
	mount -t cgroup2 cgroup2 $unified
	printf '1:name=systemd:/\n0::/\n' >/run/cttest-cgroup
	;;
esac
mkdir $unified/init.scope
echo $$ >$unified/init.scope/cgroup.procs
if [ $1 = v1 ]; then
	umount $unified
	rmdir $unified
	printf '1:name=systemd:/\n' >/run/cttest-cgroup
fi
`

// procsRoot returns the root of the hierarchy in which runtimes put the processes of
// containers.
func (h *Host) procsRoot() string {
	if h.cgroups == V2 {
		return h.cgroup
	}
	return h.Path("/sys/fs/cgroup/systemd")
}
