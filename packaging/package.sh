#!/bin/sh
# package.sh deb|rpm VERSION: makes a package of what `make build` made ($BIN), in dist
# ($DIST). VERSION is that of the package; what the programs say was linked into them.
set -eu
cd "$(dirname "$0")/.."
format=$1 version=$2
GO=${GO:-go}
arch=$($GO env GOARCH)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
umask 022
case $format in
# Debian 12 looks for units there, where /lib is not a link to /usr/lib.
deb) unitdir=/lib/systemd/system ;;
rpm) unitdir=/usr/lib/systemd/system ;;
*)
	echo "usage: $0 deb|rpm VERSION" >&2
	exit 2
	;;
esac
DESTDIR=$stage PREFIX=/usr UNITDIR=$unitdir packaging/install.sh install
doc=$stage/usr/share/doc/osctl-eventd
if [ "$format" = deb ]; then
	install -m 644 packaging/deb/copyright "$doc/copyright"
	install -D -m 644 packaging/deb/overrides "$stage/usr/share/lintian/overrides/osctl-eventd"
	{
		printf 'osctl-eventd (%s) stable; urgency=medium\n\n' "$version"
		printf '  * See /usr/share/doc/osctl-eventd/changelog.gz for what changed.\n\n'
		printf ' -- The osctl-eventd authors <osctl-eventd@users.noreply.github.com>  %s\n' "$(date -R -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")"
	} | gzip -9n >"$doc/changelog.Debian.gz"
	drop='/^license:/d' # Debian has no such field
else
	install -m 644 LICENSE "$doc/LICENSE"
	drop=
fi

mkdir -p "${DIST:-dist}"
# nfpm takes values from the environment only where they stand for themselves.
sed -e "s|@STAGE@|$stage|; s|@VERSION@|$version|; s|@ARCH@|$arch|; $drop" packaging/nfpm.yaml >"$stage.yaml"
trap 'rm -rf "$stage" "$stage.yaml"' EXIT
$GO run "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0" package --config "$stage.yaml" --packager "$format" --target "${DIST:-dist}/"
