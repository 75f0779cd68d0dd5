#!/bin/sh
# run.sh [BUS]: starts the daemon on BUS (private unless told otherwise) and shows
# events as they come, until it is interrupted. Nothing of it stays.
set -eu
bin=$(cd "${BIN:-$(dirname "$0")/../../bin}" && pwd)
bus=${1:-private}

address=$(mktemp)
daemon= monitor=
finish() {
	trap - EXIT HUP INT TERM
	# shellcheck disable=SC2086 # one word each, or none
	[ -z "$monitor$daemon" ] || kill $monitor $daemon 2>/dev/null || true
	wait
	rm -f "$address"
}
trap finish EXIT
trap 'exit 0' HUP INT TERM
# SIGKILL leaves no time for that: the kernel ends both programs with this shell.
bound="setpriv --pdeathsig TERM"
$bound true 2>/dev/null || bound=

# In its own session, so that an interrupt at the terminal ends the monitor first and
# then, through finish, the daemon.
$bound setsid "$bin/osctl-eventd" --bus "$bus" --state-dir none --log-level warn >"$address" &
daemon=$!
tries=0
case $bus in
private)
	while [ ! -s "$address" ]; do
		kill -0 "$daemon" 2>/dev/null || exit 1
		sleep 0.05
	done
	bus=$(cat "$address")
	busctl="busctl --address='$bus'"
	;;
system) busctl="busctl" ;;
session) busctl="busctl --user" ;;
*) busctl="busctl --address='$bus'" ;;
esac
# Status 2: it runs with less than it should, as without cgroups. Its log says with what.
until "$bin/osctl-eventctl" --bus "$bus" status >/dev/null 2>&1 || [ $? -eq 2 ]; do
	kill -0 "$daemon" 2>/dev/null || exit 1
	tries=$((tries + 1))
	[ "$tries" -lt 100 ] || { "$bin/osctl-eventctl" --bus "$bus" status; exit 1; }
	sleep 0.05
done

cat <<X
osctl-eventd runs on the bus $bus

Its events are shown here. Make some in another terminal, as root:
  ip netns add box
  ip link add out0 type veth peer name eth0 netns box
  ip link set out0 up; ip -n box link set eth0 up
  ip -n box link set eth0 down
  ip -n box link set eth0 name lan0
  ip link delete out0; ip netns delete box
More ways to look at it from there:
  $bin/osctl-eventctl --bus '$bus' monitor --since oldest
  $bin/osctl-eventctl --bus '$bus' list --watch
  $busctl introspect org.osctl.Eventd /org/osctl/Eventd
End with Ctrl-C.

X
$bound "$bin/osctl-eventctl" --bus "$bus" monitor &
monitor=$!
wait "$monitor"
