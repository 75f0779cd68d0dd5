#!/bin/sh
# setup.sh run|test: installs the Debian packages of what `make run` or `make test` needs
# and cannot find. It starts no services. Where there is no apt-get it says what is missing.
set -eu
PATH=$PATH:/usr/sbin:/sbin
command -v apt-get >/dev/null && apt=yes || apt=

# need FILE|COMMAND PACKAGE
missing= packages=
need() {
	command -v "$1" >/dev/null || [ -e "$1" ] || {
		missing="$missing $1"
		packages="$packages $2"
	}
}

case ${1:-} in
run) ;;
test)
	need gcc gcc
	need /usr/include/stdlib.h libc6-dev
	need dbus-broker dbus-broker
	need dbus-test-tool dbus-tests
	need gdbus libglib2.0-bin
	need mandoc mandoc
	need gzip gzip
	need lintian lintian
	# Real containers.
	for command in busybox:busybox-static lxc-start:lxc mmdebstrap:mmdebstrap systemd-nspawn:systemd-container \
		podman:podman conmon:conmon crun:crun iptables:iptables /usr/lib/podman/netavark:netavark \
		find:findutils mount:mount tar:tar unshare:util-linux; do
		need "${command%:*}" "${command#*:}"
	done
	# Shells that complete.
	need /usr/share/bash-completion/bash_completion bash-completion
	need fish fish
	need zsh zsh
	;;
*)
	echo "usage: $0 run|test" >&2
	exit 2
	;;
esac
need dbus-daemon dbus
need ip iproute2
need busctl systemd
[ -z "$apt" ] || need /etc/ssl/certs/ca-certificates.crt ca-certificates
[ -n "$missing" ] || exit 0

if [ -z "$apt" ]; then
	echo "make $1 needs these, and there is no apt-get to install them:$missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "make $1 needs these Debian packages:$packages" >&2
	echo "As root it installs them: sudo make $1" >&2
	exit 1
fi

echo "make $1 installs$packages" >&2
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
apt-get update -qq >&2
# shellcheck disable=SC2086 # one word for each package
apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $packages >/dev/null

# What is only wanted for tests here would otherwise come up with the next boot:
# dbus-broker would be the machine's own bus, and LXC would make a bridge.
for package in $packages; do
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
