// Package bus is the service's side of a message bus: it owns a name, hands out the calls
// that come in, and sends replies and signals.
//
// [Connect] connects, owns the name and serves until the bus is lost or [Bus.Close] is
// called. A [Handler] gets each [Call], answers it with [Call.Reply] or [Call.Fail], and may
// hold up further calls of the same connection with [Call.Hold]. [Bus.Signals] queues
// signals.
//
// # Promises
//
//   - Order: calls of one connection are handled in the order sent, one at a time. Signals
//     go out in the order queued.
//   - Turns: users take turns, and the connections of a user take turns, one call each. So a
//     user's flood costs other users one call each turn, however many connections it opens.
//   - Bounds: 64 MiB of calls may wait. A user may hold half of what others leave of it, a
//     connection half of what the user's other connections leave; but the first call of a user,
//     and of a connection within its user's share, is always taken while there is room. Beyond
//     that a call is refused with LimitsExceeded, counted and logged. Little of replies waits for
//     the socket, because there are no turns there, and a bounded size of signals; when there
//     is no room, whoever adds more waits.
//   - Identity: a [Peer] is what the bus says of a connection. Its calls wait until that is
//     known, and count to one user "unknown" until then. At most 64 such questions are under
//     way.
//   - A bus that takes nothing for Config.WriteTimeout is given up. One that is slow is not.
//   - Nothing that a stranger sends reaches godbus, see control.go for why.
//
// # A call, from the socket to its reply
//
// Bus.read reads a header and asks queue.admit whether there is room for the body. queue.push
// files the message under its connection; if nobody knows whose that is, control.identify
// asks the bus. A worker in queue.run takes the next turn and runs the Handler, whose
// Call.Reply appends to the outbox. outbox.run writes it. If the Handler called Call.Hold,
// the connection gets no turn until it is resumed.
//
// # Files
//
// Read them in this order: bus.go (one session), call.go, queue.go, shares.go and drain.go (turns,
// quotas, the end of a queue), outbox.go (one writer), control.go (the second connection), identity.go (who a
// peer is), refusals.go (what the log is told), stop.go (the end).
package bus
