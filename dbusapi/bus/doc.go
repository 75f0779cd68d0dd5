// Package bus is the service's side of a message bus: it owns a name, dispatches calls to a handler,
// and sends replies and signals.
//
// [Connect] connects, owns the name and serves until the bus is lost or [Bus.Close] is called. A
// [Handler] gets each [Call], answers it with [Call.Reply] or [Call.Fail], and may delay further calls
// of the same connection with [Call.Hold]. [Bus.Signals] queues signals.
//
// # Promises
//
//   - Order: calls of one connection are handled in the order sent, one at a time. Signals
//     go out in the order queued.
//   - Turns: users take turns, and the connections of a user take turns, one call each. So a
//     user's flood costs other users one call each turn, however many connections it opens.
//   - Quotas: 64 MiB of calls may be queued. A user may hold half of what other users leave free, and a
//     connection half of what its user's other connections leave of that. A user's first call is
//     accepted while there is room, and a connection's first call while there is room in its user's half.
//     A call over quota is refused with LimitsExceeded, counted and logged. The queues of replies and
//     signals for the socket are bounded; while one is full, its senders wait. The queue of replies
//     is small, because it has no turns.
//   - Identity: the bus identifies the [Peer] of a connection. Until then its calls wait, and count
//     to one user "unknown". At most 64 identifications run at a time.
//   - A bus that takes no byte for Config.WriteTimeout is given up; a slow bus is not.
//   - No message of a peer reaches godbus, see control.go for why.
//
// # A call, from the socket to its reply
//
// Bus.read reads a header and asks queue.admit whether there is room for the body. queue.push queues
// the message of its connection; if the peer is unknown, control.identify asks the bus. A worker in
// queue.run takes the next turn and runs the Handler, whose Call.Reply appends to the outbox, and
// outbox.run writes it. If the Handler called Call.Hold, the connection gets no turn until resumed.
//
// # Files
//
// Read them in this order: bus.go (one session), call.go, queue.go, shares.go and drain.go (turns,
// quotas, the end of a queue), outbox.go (one writer), control.go (the second connection), identity.go
// (identity of a peer), refusals.go (log of refused calls), stop.go (the end).
package bus
