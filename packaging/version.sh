#!/bin/sh
# version.sh VERSION: prints a version for packages. A tag gives its own (v1.2.3 is 1.2.3,
# v1.2.3-4-gabcdef is newer than that); any other VERSION gets one that is older than any tag's.
set -eu
export LC_ALL=C # ranges are of bytes
version=${1#v}
case $version in
*[!A-Za-z0-9._+~-]* | '')
	echo "version.sh: expected a version of letters, digits and ._+~- alone" >&2
	exit 1
	;;
esac
case $version in
[0-9]*.[0-9]*) ;;
*) version=0.0.0~git$(git -c safe.directory='*' rev-list --count HEAD 2>/dev/null || echo 0).$version ;;
esac
# A hyphen would begin a Debian revision.
printf '%s\n' "$version" | tr - +
