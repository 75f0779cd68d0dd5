#!/bin/sh
# setup.sh run|test: installs the Debian packages that `make run` or `make test` need
# and that are missing. It starts no services. Must be root where something is missing.
set -eu
case ${1:-} in
run) wanted="ca-certificates dbus iproute2 systemd" ;;
test)
	wanted="ca-certificates dbus dbus-broker dbus-tests gcc iproute2 libc6-dev libglib2.0-bin mandoc systemd"
	# Real containers.
	wanted="$wanted busybox-static conmon crun findutils iptables lxc mmdebstrap mount netavark podman systemd-container tar util-linux"
	# Shells that complete.
	wanted="$wanted bash-completion fish zsh"
	# Packages, and what is said against them.
	wanted="$wanted gzip lintian"
	;;
*)
	echo "usage: $0 run|test" >&2
	exit 2
	;;
esac

missing=
for package in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing" >&2
if [ "$(id -u)" -ne 0 ]; then
	echo "setup.sh: must be root to install packages; or install them by hand" >&2
	exit 1
fi
# Package scripts ask policy-rc.d(8) whether they may start a service.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
# shellcheck disable=SC2086 # one word for each package
apt-get install -q -y --no-install-recommends $missing >&2

# What is only wanted for tests here would otherwise come up with the next boot:
# dbus-broker would be the machine's own bus, and LXC would make a bridge.
for package in $missing; do
	case $package in
	dbus-broker) units="dbus-broker.service" ;;
	lxc) units="lxc.service lxc-net.service" ;;
	podman) units="podman.service podman.socket podman-auto-update.timer podman-restart.service" ;;
	*) continue ;;
	esac
	for unit in $units; do
		systemctl -q disable "$unit" 2>/dev/null || true
		systemctl -q --global disable "$unit" 2>/dev/null || true
	done
done
