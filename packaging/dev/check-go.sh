#!/bin/sh
# check-go.sh [GO]: fails, and says why, where Go is missing or older than go.mod wants.
set -eu
cd "$(dirname "$0")/../.."
go=${1:-go}
want=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
# In this directory an older Go fetches the version that go.mod wants, unless its settings
# (GOTOOLCHAIN) forbid that. Then it prints its own version elsewhere only.
version=$($go version 2>/dev/null) || version=$(cd / && $go version 2>/dev/null) || version=
found=$(printf '%s\n' "$version" | sed -n 's/.*go\([0-9][0-9.]*\).*/\1/p')
if [ -z "$found" ] || [ "$(printf '%s\n' "$want" "$found" | sort -V | head -n 1)" != "$want" ]; then
	echo "osctl-eventd needs Go $want or newer, found ${found:-none}; get it from https://go.dev/dl/" >&2
	exit 1
fi
