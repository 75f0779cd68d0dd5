// Package dbusapi is the service org.osctl.Eventd on a D-Bus message bus, and the
// client for it.
//
// # The service
//
// [Service] serves a [hub.Hub]: it takes reports, answers pulls, and announces each
// event as a signal. The interface is packaging/org.osctl.Eventd.xml.
//
//   - Order: calls of one sender are handled in the order sent, so that its events
//     are numbered in that order. Signals go out in the order of the numbers.
//   - Loss: what is answered was committed. Signals are best effort beyond the
//     socket of the bus; when the bus is too slow for the history to hold what waits,
//     the signal Lapped says what was not announced. Reports that wait for answers, and
//     batches whose signals take up to 16 KiB, do not outrun the signals, which go out
//     beside the replies; but reports of tens of KiB by several senders at once may, and
//     many calls under way while others call (see pace), most of all more than a dbus-daemon
//     takes: while it refuses some, the signals stand back (see outboxSpace). After the loss of the bus the emitter goes on with the first
//     signal that did not go out whole.
//   - Fairness: senders take turns, a call each, so that whoever floods waits for
//     itself. The bus has one queue for all that is sent to us, so reading does not
//     stop for one of them. Replies go out to each receiver a share at a time, and
//     before all but a few signals. Whoever keeps calls waiting while others make some
//     is also slowed down, as far as it waits for answers, so that the bus has time for
//     the others: it gets about a third of the time. Alone, or beside who only pulls,
//     pings or introspects, it gets all of it.
//   - Bounds: a sender may have as much waiting as is left of 64 MiB for all others;
//     a call beyond that is refused with LimitsExceeded, counted (calls_over_limit)
//     and logged, as a caller that wants no reply does not hear of it. Replies and
//     signals wait in buffers of bounded size; while they are full, calls wait.
//     Pending WaitEvents calls are bounded for each connection, each user, and in all.
//   - Shutdown: when the context of Run ends, further calls are refused, those that
//     were taken are handled, waiting ones answered, and all signals written before the
//     name is given up, within 3 s. Calls that there is no time for are refused, too,
//     and logged, as a caller that wants no reply does not hear of it; signals, told with
//     Lapped. Which were not sent after all, as the bus took nothing, the log says.
//
// # Why not simply godbus
//
// godbus does the authentication and the talk with the bus itself. What others send
// never reaches it (see conn.go): in version 5.2.4 a message with an array of file
// descriptors crashes a process that negotiated fd passing, deeply nested variants
// end the connection, a received body of a few megabytes costs a hundred times its
// size, and each call runs in a goroutine of its own, so that the order is lost.
// Here the bytes are checked before they are decoded ([wire.Decoder]), calls are
// handled by a few goroutines in the order sent, and events are encoded once.
//
// There are two connections. The second one asks the bus who a caller is: the
// answer on the first would stand behind all the calls that wait there.
//
// # The client
//
// [Client] makes calls. [Follow] is the loop that misses no event: it survives
// restarts of the service and of the bus, goes on from a cursor that its caller kept,
// and says how many events were lost if any were. [Watch] is the loop "list, follow, on
// Gone list again", for who wants to know the present state at any time; [Await]
// waits for one state of it. [Explain] says in words what an error means.
package dbusapi
