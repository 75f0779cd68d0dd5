#!/bin/sh
# run.sh [BUS]: starts the daemon on BUS (private unless told otherwise) and shows
# events as they come, until it is interrupted.
set -eu
bin=${BIN:-$(dirname "$0")/../../bin}
bus=${1:-private}

address=$(mktemp)
daemon=
finish() {
	trap - EXIT HUP INT TERM
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	wait
	rm -f "$address"
}
trap finish EXIT
trap 'exit 0' HUP INT TERM

# A bus of our own comes with events of our own: nothing of them stays.
state=
[ "$bus" != private ] || state='--state-dir none'
# In its own process group, so that an interrupt at the terminal ends the monitor
# first and then, through finish, the daemon.
setsid "$bin/osctl-eventd" --bus "$bus" $state --log-level warn >"$address" &
daemon=$!
tries=0
if [ "$bus" = private ]; then
	while [ ! -s "$address" ]; do
		kill -0 "$daemon" 2>/dev/null || exit 1
		sleep 0.05
	done
	bus=$(cat "$address")
fi
# Status 2: it runs with less than it should, as without cgroups. Its log says with what.
until "$bin/osctl-eventctl" --bus "$bus" status >/dev/null 2>&1 || [ $? -eq 2 ]; do
	kill -0 "$daemon" 2>/dev/null || exit 1
	tries=$((tries + 1))
	[ "$tries" -lt 100 ] || { "$bin/osctl-eventctl" --bus "$bus" status; exit 1; }
	sleep 0.05
done

cat <<X
osctl-eventd runs on the bus $bus

Its events are shown here. In another terminal, try (as root):
  ip link add try0 type veth peer name try1
  ip link set try0 up; ip link set try1 up
  ip link set try1 down
  ip link set try1 up
  ip link set try0 name try2
  ip link delete try2
For other commands on this bus, in that terminal:
  export DBUS_SYSTEM_BUS_ADDRESS='$bus'
  busctl introspect org.osctl.Eventd /org/osctl/Eventd
End with Ctrl-C.

X
"$bin/osctl-eventctl" --bus "$bus" monitor
