#!/bin/sh
# setup.sh run|test|test-web|bench|deb|rpm|release|lintian: installs the Debian packages of what that target of
# make needs and cannot find. It starts no services, and leaves none enabled. Where there
# is no apt-get it says what is missing.
set -eu
PATH=$PATH:/usr/sbin:/sbin
target=${1:-}
[ "$(id -u)" -eq 0 ] && root=yes || root=
command -v apt-get >/dev/null && apt=yes || apt=

if [ -z "$root" ] && { [ "$target" = test ] || [ "$target" = test-web ] || [ "$target" = bench ]; }; then
	echo "make $target must be root, as it makes network namespaces, containers and users' connections: sudo make $target" >&2
	echo "make check runs the tests that need no root." >&2
	exit 1
fi

# need FILE|COMMAND PACKAGE
missing= packages=
need() {
	command -v "$1" >/dev/null || [ -e "$1" ] || {
		missing="$missing $1"
		packages="$packages $2"
	}
}

need_tests() {
	need gcc gcc # for the race detector
	need /usr/include/stdlib.h libc6-dev
	need dbus-broker dbus-broker
	need mandoc mandoc
	need strace strace
	need gzip gzip
	# Containers, and a Debian that boots.
	for pair in busybox:busybox-static lxc-start:lxc mmdebstrap:mmdebstrap systemd-nspawn:systemd-container \
		podman:podman conmon:conmon crun:crun iptables:iptables /usr/lib/podman/netavark:netavark \
		find:findutils mount:mount tar:tar unshare:util-linux; do
		need "${pair%:*}" "${pair#*:}"
	done
	# Shells that complete.
	need /usr/share/bash-completion/bash_completion bash-completion
	need fish fish
	need zsh zsh
	# A server for the bridge.
	need nats-server nats-server
}

# need_web is Cockpit, a browser, and what runs JavaScript without one.
need_web() {
	[ -e /usr/libexec/cockpit-ws ] || need /usr/lib/cockpit/cockpit-ws cockpit-ws
	need cockpit-bridge cockpit-bridge
	need /usr/share/cockpit/shell/manifest.json cockpit-system
	need chromium chromium
	need node nodejs
	need setpriv util-linux
}

need_bus() {
	need dbus-daemon dbus
	need ip iproute2
	need busctl systemd
}

case $target in
run) need_bus ;;
test) need_bus && need_tests ;;
test-web) need_bus && need_web ;;
bench) need_bus && need_tests && need dbus-test-tool dbus-tests ;;
deb) need dpkg-deb dpkg ;;
rpm) need rpmbuild rpm ;;
release) need dpkg-deb dpkg && need rpmbuild rpm ;;
lintian) need lintian lintian ;;
*)
	echo "usage: $0 run|test|test-web|bench|deb|rpm|release|lintian" >&2
	exit 2
	;;
esac
[ -z "$apt" ] || need /etc/ssl/certs/ca-certificates.crt ca-certificates
[ -n "$missing" ] || exit 0

if [ -z "$apt" ]; then
	echo "make $target needs these, and there is no apt-get to install them:$missing" >&2
	exit 1
fi
if [ -z "$root" ]; then
	echo "make $target needs these Debian packages:$packages" >&2
	echo "As root it installs them: sudo make $target" >&2
	exit 1
fi

# Package scripts ask policy-rc.d(8) whether they may start a service.
policy=/usr/sbin/policy-rc.d
log=$(mktemp) ours=
trap 'rm -f "$log" $ours' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e $policy ]; then
	ours=$policy
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi

# apt ARGUMENT... says something only where it fails.
apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends "$@" >"$log" 2>&1 || {
		cat "$log" >&2
		exit 1
	}
}
echo "make $target installs Debian packages:$packages" >&2
apt update
# shellcheck disable=SC2086 # one word for each package
{
	apt --simulate install $packages
	all=$(sed -n 's/^Inst \([^ ]*\) .*/\1/p' "$log")
	echo "With what they need these are $(echo "$all" | wc -l), which takes from seconds to some minutes ..." >&2
	apt install $packages
}

# What only tests want would otherwise come up with the next boot: dbus-broker as the
# machine's own bus, LXC with a bridge, podman with updates.
for package in $all; do
	case $package in
	dbus | systemd) continue ;; # a machine that has them uses them
	esac
	for unit in $(dpkg-query -L "$package" | sed -n 's|.*/systemd/[a-z]*/\([^/]*\.[a-z]*\)$|\1|p'); do
		systemctl -q disable "$unit" 2>/dev/null || true
		systemctl -q --global disable "$unit" 2>/dev/null || true
	done
done
