#!/bin/sh
# package.sh deb|rpm|tar VERSION [PACKAGE]: makes a package, osctl-eventd, osctl-eventd-nats or
# cockpit-osctl-eventd, of the programs of `make build` ($BIN), in dist ($DIST). VERSION is that of the package; the
# linker put another one into the programs. The architecture is $ARCH, as Go calls it. The same
# input and SOURCE_DATE_EPOCH, by default the time of the commit, give the same bytes. $FAST, for
# tests, makes a larger package in less time.
set -eu
cd "$(dirname "$0")/.."
format=${1:-} version=${2:-} package=${3:-osctl-eventd}
case $format:$version in
deb:?* | rpm:?* | tar:?*) ;;
*) package= ;;
esac
case $package in
osctl-eventd) parts=packaging ;;
osctl-eventd-nats) parts=packaging/nats ;;
cockpit-osctl-eventd) parts=packaging/cockpit ARCH=all ;;
*)
	echo "usage: $0 deb|rpm|tar VERSION [osctl-eventd|osctl-eventd-nats|cockpit-osctl-eventd]" >&2
	exit 2
	;;
esac
arch=${ARCH:-$(${GO:-go} env GOARCH)}
dist=${DIST:-dist}
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory='*' log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH LC_ALL=C

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/stage
umask 022
# Debian 12 looks for units there, where /lib is not a link to /usr/lib.
[ "$format" = deb ] && unitdir=/lib/systemd/system || unitdir=/usr/lib/systemd/system
DESTDIR=$stage PREFIX=/usr UNITDIR=$unitdir $parts/install.sh install
doc=$stage/usr/share/doc/$package
[ "$format" = deb ] || install -m 644 LICENSE "$doc/LICENSE"

make_deb() {
	[ "$arch" != 386 ] || arch=i386
	[ "$arch" != arm ] || arch=armhf
	install -m 644 packaging/deb/copyright "$doc/copyright"
	[ ! -e $parts/deb/overrides ] || install -D -m 644 $parts/deb/overrides "$stage/usr/share/lintian/overrides/$package"
	{
		printf '%s (%s) stable; urgency=medium\n\n' "$package" "$version"
		printf '  * See /usr/share/doc/osctl-eventd/changelog.gz for what changed.\n\n'
		printf ' -- The osctl-eventd authors <osctl-eventd@users.noreply.github.com>  %s\n' "$(date -uR -d "@$SOURCE_DATE_EPOCH")"
	} | gzip -9n >"$doc/changelog.Debian.gz"
	size=$(find "$stage" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
	mkdir "$work/DEBIAN"
	(cd "$stage" && find . -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$work/DEBIAN/md5sums"
	sed -e "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@SIZE@|$size|" $parts/deb/control >"$work/DEBIAN/control"
	for script in postinst prerm postrm; do
		[ ! -e $parts/deb/$script ] || install -m 755 $parts/deb/$script "$work/DEBIAN"
	done
	(cd "$stage" && find etc -type f -printf '/%p\n' 2>/dev/null) >"$work/conffiles" || true
	[ ! -s "$work/conffiles" ] || install -m 644 "$work/conffiles" "$work/DEBIAN/conffiles"
	mv "$work/DEBIAN" "$stage"
	[ -n "${FAST:-}" ] && compression=-Znone || compression=-Zxz
	# More threads would make other bytes.
	DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group "$compression" --build "$stage" "$dist/${package}_${version}_$arch.deb" >/dev/null
}

make_rpm() {
	case $arch in
	amd64) arch=x86_64 ;;
	arm64) arch=aarch64 ;;
	386) arch=i686 ;;
	arm) arch=armv7hl ;;
	all) arch=noarch ;;
	esac
	find "$stage" -type f -printf '/%P\n' | sort >"$work/files"
	# xz is what every rpm since 4.6 reads.
	[ -n "${FAST:-}" ] && payload=w1.gzdio || payload=w6.xzdio
	rpmbuild -bb --quiet --target "$arch-linux" --define "_topdir $work/rpm" --define "_rpmdir $dist" \
		--define '_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' --define "version $version" --define "payload $payload" \
		--define "stage $stage" --define "staged_files $work/files" --define "scripts $PWD/$parts/rpm" \
		$parts/rpm/$package.spec
}

# The system's directories are left out: tar would replace /usr/sbin where it is a link to bin.
make_tar() {
	(cd "$stage" && find * -type f -o -path 'etc/*') | sort |
		tar -C "$stage" --no-recursion --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c -T - |
		gzip -9n >"$dist/$package-$version-linux-$arch.tar.gz"
}

"make_$format"
