#!/bin/sh
# leftovers.sh COMMAND [ARGUMENT]...: runs the tests, as root, and fails with a list of what
# they left on the machine: processes, cgroups, mounts (and so named network namespaces),
# files, enabled units.
#
# Others may use the machine meanwhile, and run the same tests. So the command runs in a
# mount namespace with a /tmp and a /dev/shm of its own, and in a cgroup of its own: what is
# there at the end is the command's. What has to be looked for on the whole machine counts if
# the tests' names, or the environment, tell that it is of this run.
set -eu
[ $# -gt 0 ] || {
	echo "usage: $0 COMMAND [ARGUMENT]..." >&2
	exit 2
}
[ "$(id -u)" -eq 0 ] || exec "$@" # and setup.sh says why it must be root
grace=${LEFTOVERS_GRACE:-10}      # seconds that the command's reapers may take

if [ -z "${LEFTOVERS_DIR:-}" ]; then
	LEFTOVERS_DIR=$(mktemp -d /var/tmp/osctl-eventd-leftovers.XXXXXX)
	export LEFTOVERS_DIR
	exec unshare --mount --propagation private "$0" "$@"
fi
dir=$LEFTOVERS_DIR
unset LEFTOVERS_DIR
run=OSCTL_EVENTD_TEST_RUN=${dir##*.}
mkdir -m 1777 "$dir/tmp"
cgroup2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
cgroup=$cgroup2/${dir##*/}
[ -n "$cgroup2" ] || {
	echo "the tests need cgroup2, which is not mounted" >&2
	exit 1
}

# marked: the processes that the command started, as far as their environment says. Those of
# its cgroup are its own, too, with whatever environment.
marked() { grep -lsxzF "$run" /proc/[0-9]*/environ | cut -d/ -f3; }

processes() {
	{ marked; cat "$cgroup/cgroup.procs"; } | sort -nu | while read -r pid; do
		{ name=$(tr '\0' ' ' <"/proc/$pid/cmdline"); } 2>/dev/null && [ -n "$name" ] || continue
		echo "process $pid in $(readlink "/proc/$pid/ns/net"): $name"
	done
}

# cgroups: those with names of the tests. Each is named after a directory of the test in /tmp.
cgroups() {
	awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts | while read -r mount; do
		for path in "$mount"/cttest-* "$mount"/osctl-eventd-test-*; do
			name=${path##*/}
			test=${name#osctl-eventd-test-}
			[ -d "$path" ] || continue
			[ -d "/tmp/$name" ] || [ -d "/tmp/${test%-*}" ] ||
				find "$path" -name cgroup.procs -exec cat {} + 2>/dev/null | grep -qxF "$(marked)" || continue
			echo "cgroup $path"
		done
	done
	find "$cgroup" -mindepth 1 -type d | sed 's/^/cgroup /'
}

# state: all that may be left, a line each.
state() {
	processes
	cgroups
	sed 's/^\([^ ]* \)\{4\}/mount /; s/ - / /' /proc/self/mountinfo
	find /tmp /dev/shm -mindepth 1 -maxdepth 1 | sed 's/^/file /'
	find /run /var/lib -xdev -mindepth 1 -maxdepth 2 2>/dev/null |
		grep -E '/[^/]*(osctl|eventd|cttest|bustest|boottest|eventlog)[^/]*$' | sed 's/^/file /'
	# The packages dbus and systemd stay as Debian enables them, see setup.sh.
	{
		cat /var/lib/dpkg/info/dbus.list /var/lib/dpkg/info/systemd.list || true # not there before setup.sh
		find /etc/systemd /root/.config/systemd -type l -printf '%l %p\n'
	} 2>/dev/null | awk 'NF == 1 { debian[$1] } NF > 1 && !($1 in debian) { print "enabled unit " $2 }'
}

# new FILE: the lines of the state that are not in the file.
new() { state | sort -u | comm -13 "$1" -; }

# What the command needs of the machine's /tmp and /dev/shm stays there: the tree, and Go's own.
kept=$(
	for path in "$PWD" "$HOME" $(go env GOROOT GOPATH GOCACHE GOMODCACHE 2>/dev/null); do
		case $path in
		/tmp/*) echo "$path" | cut -d/ -f1-3 ;;
		/dev/shm/*) echo "$path" | cut -d/ -f1-4 ;;
		esac
	done | sort -u
)
for path in $kept; do
	mkdir -p "$dir/kept$path"
	mount --bind "$path" "$dir/kept$path"
done
mount --bind "$dir/tmp" /tmp
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
for path in $kept; do
	mkdir "$path"
	mount --move "$dir/kept$path" "$path"
done
cd "$PWD"
mkdir "$cgroup"
state | sort -u >"$dir/before"
status=0
trap : HUP INT TERM
(
	echo 0 >"$cgroup/cgroup.procs"
	exec env -u TMPDIR "$run" "$@"
) || status=$?

new "$dir/before" >"$dir/left"
while [ -s "$dir/left" ] && [ "$grace" -gt 0 ]; do
	sleep 1
	grace=$((grace - 1))
	new "$dir/before" | comm -12 "$dir/left" - >"$dir/still"
	mv "$dir/still" "$dir/left"
done
if [ -s "$dir/left" ]; then
	echo "The tests left behind (files of /tmp are in $dir):" >&2
	sed 's/^/  /' "$dir/left" >&2
	[ $status -ne 0 ] || status=1
	rmdir "$cgroup" 2>/dev/null || true # processes of it may be left
else
	rmdir "$cgroup"
	cd /
	umount --recursive /tmp
	rm -rf --one-file-system "$dir"
fi
exit $status
