// Package bustest runs private message buses for tests, and has clients that can send
// any bytes.
//
// [Start] runs a dbus-daemon or a dbus-broker with the default policy of Debian's
// system bus on a socket of its own. It never reads the machine's configuration
// and never connects to the machine's buses. It requires root, and the Debian
// packages dbus-daemon and dbus-broker; otherwise it fails the test.
//
// No process outlives the test, even if that is killed. The processes of a bus form
// a process group. Its leader is a shell that waits for the end of its standard
// input, which comes when the test process ends. The shell then removes the
// directory and kills the group. A parent death signal is not enough, because it
// does not pass from dbus-broker-launch to a stopped dbus-broker.
//
// [Message] and [Client] use neither the project's own codec nor godbus, because they
// test both. They send messages unchecked.
package bustest
