// Package boottest tests the package for Debian in booted systems, once with each of
// the two message buses: that it installs, serves, keeps out who does not belong,
// survives what may happen, upgrades, and leaves nothing when it is purged.
//
// Each test boots systems of its own (see package cttest) and installs the package as
// `make deb` makes it, with the unit as it is; only the watchdog's time is made
// shorter where a test waits for it.
package boottest
