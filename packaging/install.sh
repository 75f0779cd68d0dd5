#!/bin/sh
# install.sh install|uninstall: installs the programs of `make build` ($BIN), units, policy
# and documentation below $DESTDIR; or removes the same files. Programs and documentation go
# below $PREFIX, files for the bus and systemd into their own directories. The script creates
# no user and starts no service: operations.md lists the next steps. Removal stops
# all units first. package.sh makes the packages of the same list.
set -eu
cd "$(dirname "$0")/.."
action=${1:-}
case $action in
install | uninstall) ;;
*)
	echo "usage: $0 install|uninstall" >&2
	exit 2
	;;
esac
bin=${BIN:-bin}
native=${NATIVE:-$bin} # the programs of another architecture do not run here
PREFIX=${PREFIX:-/usr}
prefix=${DESTDIR:-}$PREFIX
share=$prefix/share
system=${DESTDIR:-}/usr
units=${DESTDIR:-}${UNITDIR:-/usr/lib/systemd/system}
doc=$share/doc/osctl-eventd

# put MODE SOURCE TARGET
put() {
	if [ "$action" = uninstall ]; then
		rm -f -- "$3"
		return
	fi
	install -D -m "$1" -- "$2" "$3"
}

# pack SOURCE TARGET puts a compressed file.
pack() {
	put 644 "$1" "$2"
	[ "$action" = uninstall ] || gzip -9nf <"$1" >"$2"
}

# putUnit SOURCE TARGET puts a unit, or a part of one, that starts the program.
putUnit() {
	put 644 "$1" "$2"
	[ "$action" = uninstall ] || sed "s|/usr/\(s*bin\)/osctl|$PREFIX/\1/osctl|" "$1" >"$2"
}

if [ "$action" = uninstall ] && [ -z "${DESTDIR:-}" ] && command -v systemctl >/dev/null; then
	systemctl -q stop 'osctl-eventd-metrics.*' 'osctl-eventctl-run@*.service' 2>/dev/null || true
	systemctl -q disable --now osctl-eventd-runtimes.service osctl-eventd.service 2>/dev/null || true
	systemctl -q disable osctl-eventd-metrics.timer osctl-eventctl-run@.service 2>/dev/null || true
	# The node exporter would show these for ever.
	rm -f /var/lib/prometheus/node-exporter/osctl-eventd.prom* /var/lib/prometheus/node-exporter/osctl-eventd-runtimes.prom*
fi

put 755 "$bin/osctl-eventd" "$prefix/sbin/osctl-eventd"
put 755 "$bin/osctl-eventctl" "$prefix/bin/osctl-eventctl"
put 755 "$bin/osctl-eventd-runtimes" "$prefix/sbin/osctl-eventd-runtimes"

putUnit systemd/osctl-eventd.service "$units/osctl-eventd.service"
putUnit systemd/osctl-eventd-runtimes.service "$units/osctl-eventd-runtimes.service"
putUnit systemd/osctl-eventctl-run@.service "$units/osctl-eventctl-run@.service"
putUnit systemd/osctl-eventd-metrics.service "$units/osctl-eventd-metrics.service"
putUnit systemd/osctl-eventd-metrics.timer "$units/osctl-eventd-metrics.timer"
put 644 systemd/osctl-eventd.sysusers "$system/lib/sysusers.d/osctl-eventd.conf"
put 644 systemd/osctl-eventd.catalog "$system/lib/systemd/catalog/osctl-eventd.catalog"

put 644 packaging/dbus/org.osctl.Eventd.conf "$system/share/dbus-1/system.d/org.osctl.Eventd.conf"
put 644 packaging/dbus/org.osctl.Eventd.service "$system/share/dbus-1/system-services/org.osctl.Eventd.service"
put 644 packaging/org.osctl.Eventd.xml "$system/share/dbus-1/interfaces/org.osctl.Eventd.xml"

for page in packaging/man/*.[1-8]; do
	[ -e "$page" ] || continue
	pack "$page" "$share/man/man${page##*.}/${page##*/}.gz"
done

# The program prints its own completion scripts.
complete() {
	put 644 /dev/null "$2"
	[ "$action" = uninstall ] || "$native/osctl-eventctl" completion "$1" >"$2"
}
complete bash "$share/bash-completion/completions/osctl-eventctl"
complete zsh "$share/zsh/vendor-completions/_osctl-eventctl"
complete fish "$share/fish/vendor_completions.d/osctl-eventctl.fish"

# page SOURCE TARGET puts a page, with its links to where they lead here.
page() {
	put 644 "$1" "$2"
	[ "$action" = uninstall ] ||
		sed 's,(\(\.\./\)*packaging/doc/,(,g; s,(cmd/osctl-eventctl/live.svg),(live.svg),g; s,(packaging/cockpit/page-,(page-,g; s,(.github/SECURITY.md),(SECURITY.md),g; s,(\(\.\./\)*CHANGELOG.md),(changelog.gz),g' "$1" >"$2"
}
page README.md "$doc/README.md"
page .github/SECURITY.md "$doc/SECURITY.md"
put 644 cmd/osctl-eventctl/live.svg "$doc/live.svg"
for picture in packaging/cockpit/page-*.png; do
	put 644 "$picture" "$doc/${picture##*/}"
done
for text in packaging/doc/*.md; do
	page "$text" "$doc/${text##*/}"
done
pack CHANGELOG.md "$doc/changelog.gz"
for example in packaging/examples/*; do
	putUnit "$example" "$doc/examples/${example##*/}"
done
[ "$action" = uninstall ] || exit 0
rmdir "$doc/examples" "$doc" 2>/dev/null || true
if [ -z "${DESTDIR:-}" ]; then
	[ ! -d /run/systemd/system ] || systemctl daemon-reload || true
	echo "The history and the user osctl-eventd stay: packaging/doc/operations.md says how to remove them."
fi
