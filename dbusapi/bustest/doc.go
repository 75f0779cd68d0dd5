// Package bustest runs private message buses for tests, and clients that no
// library would let one write.
//
// [Start] runs a dbus-daemon or a dbus-broker with the default policy of Debian's
// system bus on a socket of its own. It never reads the machine's configuration
// and never connects to the machine's buses. It wants root, and the Debian
// packages dbus-daemon and dbus-broker: what is missing fails the test.
//
// Nothing outlives the test, whether it ends or is killed: the processes of a bus
// form a process group led by a shell that waits for its standard input to end,
// which the kernel sees to when the test process dies. It then removes the
// directory and kills the group. The parent death signal would not do: it does not
// pass from dbus-broker-launch to a dbus-broker that is stopped.
//
// [Message] and [Client] speak the wire protocol without the project's own codec
// and without godbus, on purpose: they test both. They send what they are told to,
// valid or not.
package bustest
