#!/bin/sh
# run.sh [BINDIR]: runs each client here, and the code that generators make of the interface,
# against the daemon on a private bus. Run it by hand, as root: make test does not. On Debian it needs:
#   apt-get install libglib2.0-dev-bin libglib2.0-dev libsystemd-dev qtbase5-dev qtbase5-dev-tools gcc g++ pkg-config
#     python3-dbus python3-gi python3-dasbus libnet-dbus-perl ruby-dbus nodejs npm libsdbus-c++-bin libsdbus-c++-dev valac
# and dbus-next, by npm install, with NODE_PATH naming its node_modules. dbus-codegen-go is optional.
set -eu
[ "${1:-}" != inside ] || { shift; inside=1; }
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:-$here/../../bin}" && pwd)
# The daemon watches a network namespace of its own, not that of this machine.
[ -n "${inside:-}" ] || exec unshare --net "$0" inside "$bin"
xml=$here/../org.osctl.Eventd.xml
work=$(mktemp -d)
daemon=
finish() {
	trap - EXIT
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
cd "$work"
"$bin/osctl-eventd" --bus private --state-dir none --log-level error >address &
daemon=$!
until [ -s address ]; do sleep 0.05; kill -0 "$daemon"; done
DBUS_SYSTEM_BUS_ADDRESS=$(cat address)
export DBUS_SYSTEM_BUS_ADDRESS
faults=0
run() { # NAME COMMAND...: each client prints the event, and has two minutes
	name=$1
	shift
	if timeout 120 "$@" >out 2>&1; then
		echo "ok     $name: $(tail -n 1 out)"
	else
		faults=$((faults + 1))
		echo "FAULT  $name: $(tail -n 5 out)"
	fi
}
shell() { run "$1" sh -euc "$2" sh "$here" "$xml"; }

run busctl sh -eu "$here/busctl.sh"
run gdbus sh -eu "$here/gdbus.sh"
run dbus-python /usr/bin/python3 "$here/dbus-python.py"
run Gio /usr/bin/python3 "$here/gio.py"
run dasbus /usr/bin/python3 "$here/dasbus-client.py"
run Net::DBus perl "$here/net-dbus.pl"
run ruby-dbus ruby "$here/ruby-dbus.rb"
run dbus-next node "$here/dbus-next.js"
shell sd-bus 'cc -Wall -Wextra -Werror -o sdbus "$1/sd-bus.c" $(pkg-config --cflags --libs libsystemd); ./sdbus'
shell gdbus-codegen '
	gdbus-codegen --interface-prefix org.osctl. --generate-c-code eventd --generate-docbook doc --generate-rst rst "$2"
	cc -Wall -Wextra -Werror -I. -o glib "$1/gdbus-codegen.c" eventd.c $(pkg-config --cflags --libs gio-unix-2.0); ./glib'
shell qdbusxml2cpp '
	export QT_SELECT=5; mkdir -p qt; cp "$1"/qt/* qt; cd qt; qdbusxml2cpp -i eventdtypes.h -p eventdproxy "$2"
	moc -o moc.cpp eventdproxy.h; g++ -Wall -fPIC -o client main.cpp eventdproxy.cpp moc.cpp $(pkg-config --cflags --libs Qt5Core Qt5DBus); ./client'
shell sdbus-c++-xml2cpp 'sdbus-c++-xml2cpp "$2" --proxy=proxy.h
	echo "#include \"proxy.h\"" | g++ -std=c++17 -Wall -I. -c -x c++ - -o proxy.o; ls -s proxy.o'
# Vala has no generator in Debian: the client declares the interface.
shell Vala 'valac --pkg gio-2.0 -X -w -o vala "$1/eventd.vala"; ./vala'
if command -v dbus-codegen-go >/dev/null; then
	# go vet finds godbus in the module of this script.
	shell dbus-codegen-go 'dbus-codegen-go -package eventd -client-only -output eventd.go "$2"; gofmt -l eventd.go
		code=$PWD/eventd.go; cd "$1"; go vet "$code"'
else
	echo "not run dbus-codegen-go: it is not there"
fi
echo "faults: $faults"
[ "$faults" = 0 ]
