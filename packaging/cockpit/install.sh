#!/bin/sh
# install.sh install|uninstall: installs the page for Cockpit below $DESTDIR, or removes the same files.
# Cockpit looks for pages below /usr/share and /usr/local/share: PREFIX is one of them without share.
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
share=${DESTDIR:-}${PREFIX:-/usr}/share
page=$share/cockpit/osctl-eventd
doc=$share/doc/cockpit-osctl-eventd

# put SOURCE TARGET
put() {
	if [ "$action" = uninstall ]; then
		rm -f -- "$2"
		return
	fi
	install -D -m 644 -- "$1" "$2"
}

for file in packaging/cockpit/page/*; do
	put "$file" "$page/${file##*/}"
done
put packaging/cockpit/org.osctl.Eventd.cockpit.metainfo.xml "$share/metainfo/org.osctl.Eventd.cockpit.metainfo.xml"
put packaging/doc/cockpit.md "$doc/cockpit.md"
put CHANGELOG.md "$doc/changelog.gz"
if [ "$action" = uninstall ]; then
	rmdir "$page" "$doc" 2>/dev/null || true
	exit 0
fi
gzip -9nf <CHANGELOG.md >"$doc/changelog.gz"
