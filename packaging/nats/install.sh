#!/bin/sh
# install.sh install|uninstall: installs the bridge to NATS of `make build` ($BIN), its unit and its
# pages below $DESTDIR; or removes the same files, but for the configuration. The bridge needs what
# ../install.sh installs. The script creates no user and starts no service.
set -eu
cd "$(dirname "$0")/../.."
action=${1:-}
case $action in
install | uninstall) ;;
*)
	echo "usage: $0 install|uninstall" >&2
	exit 2
	;;
esac
PREFIX=${PREFIX:-/usr}
prefix=${DESTDIR:-}$PREFIX
units=${DESTDIR:-}${UNITDIR:-/usr/lib/systemd/system}
config=${DESTDIR:-}/etc/osctl-eventd-nats
doc=$prefix/share/doc/osctl-eventd-nats
page=$prefix/share/man/man8/osctl-eventd-nats.8.gz

# put MODE SOURCE TARGET
put() {
	if [ "$action" = uninstall ]; then
		rm -f -- "$3"
		return
	fi
	install -D -m "$1" -- "$2" "$3"
}

put 755 "${BIN:-bin}/osctl-eventd-nats" "$prefix/sbin/osctl-eventd-nats"
put 644 systemd/osctl-eventd-nats.service "$units/osctl-eventd-nats.service"
put 644 systemd/osctl-eventd-nats.sysusers "${DESTDIR:-}/usr/lib/sysusers.d/osctl-eventd-nats.conf"
put 644 packaging/nats/osctl-eventd-nats.8 "$page"
put 644 packaging/doc/fleet.md "$doc/fleet.md"
put 644 CHANGELOG.md "$doc/changelog.gz"
[ "$action" = install ] || exit 0

sed "s|/usr/sbin/|$PREFIX/sbin/|" systemd/osctl-eventd-nats.service >"$units/osctl-eventd-nats.service"
gzip -9nf <packaging/nats/osctl-eventd-nats.8 >"$page"
gzip -9nf <CHANGELOG.md >"$doc/changelog.gz"
install -d -m 700 "$config"
[ -e "$config/env" ] || install -m 600 packaging/nats/env "$config/env"
