#!/bin/sh
# install.sh install|uninstall: installs what `make build` made, and all that belongs to
# it ($BIN), below $DESTDIR; or removes the same files. It creates no user and starts no service:
# see README.md for what to do then. The packages are made of the same list.
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
prefix=${DESTDIR:-}${PREFIX:-/usr}
share=$prefix/share
units=${DESTDIR:-}${UNITDIR:-${PREFIX:-/usr}/lib/systemd/system}
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

put 755 "$bin/osctl-eventd" "$prefix/sbin/osctl-eventd"
put 755 "$bin/osctl-eventctl" "$prefix/bin/osctl-eventctl"

put 644 systemd/osctl-eventd.service "$units/osctl-eventd.service"
put 644 systemd/osctl-eventd.sysusers "$prefix/lib/sysusers.d/osctl-eventd.conf"
put 644 systemd/osctl-eventd.catalog "$prefix/lib/systemd/catalog/osctl-eventd.catalog"

put 644 packaging/dbus/org.osctl.Eventd.conf "$share/dbus-1/system.d/org.osctl.Eventd.conf"
put 644 packaging/dbus/org.osctl.Eventd.service "$share/dbus-1/system-services/org.osctl.Eventd.service"
put 644 packaging/org.osctl.Eventd.xml "$share/dbus-1/interfaces/org.osctl.Eventd.xml"

for page in packaging/man/*.[1-8]; do
	[ -e "$page" ] || continue
	pack "$page" "$share/man/man${page##*.}/${page##*/}.gz"
done

# The program itself knows what it completes.
complete() {
	put 644 /dev/null "$2"
	[ "$action" = uninstall ] || "$bin/osctl-eventctl" completion "$1" >"$2"
}
complete bash "$share/bash-completion/completions/osctl-eventctl"
complete zsh "$share/zsh/vendor-completions/_osctl-eventctl"
complete fish "$share/fish/vendor_completions.d/osctl-eventctl.fish"

put 644 README.md "$doc/README.md"
pack CHANGELOG.md "$doc/changelog.gz"
for example in packaging/examples/*; do
	put 644 "$example" "$doc/examples/${example##*/}"
done
[ "$action" = install ] || rmdir "$doc/examples" "$doc" 2>/dev/null || true
