// Package dbusapi is the service org.osctl.Eventd: the methods, properties and signals of
// packaging/org.osctl.Eventd.xml on top of a [hub.Hub].
//
// Make a [Service] with [New] and let [Service.Run] serve until the context ends.
// [Service.Ready] says when the name is owned, [Service.Check] is for a watchdog. Package bus
// below it talks with the message bus, package wire is the format of what goes over it, and
// package client is the other end, for programs that report and follow.
//
// # Promises
//
//   - Calls of one connection are handled in the order sent. Signals go out in the order of
//     the events' numbers.
//   - A report that was answered was committed to the hub.
//   - Signals are best effort. When the bus is too slow for the history to hold what waits, the
//     signal Lapped says which events were not announced. WaitEvents loses nothing.
//   - Everything that a client can make grow is bounded: calls that wait and bytes of replies
//     and signals by package bus, pending waits for each connection, each user, and in all.
//   - When the bus is lost, hub and watcher go on. The service reconnects with back-off and
//     goes on with the first signal that did not go out whole.
//   - When the context ends, no more calls are taken. Those that were taken are handled, waits
//     are answered, the last signals are sent and confirmed by the bus, and the name is given
//     up, within 4 s. Calls that there is no time for are refused and logged; signals, told
//     with Lapped. The log says which signals the bus did not confirm.
//
// # Four journeys
//
// A Report to its reply: bus.Bus reads the call and gives it a turn. handler.Handle finds the
// method, call.report decodes and checks the event (readEvent), call.commit holds further
// calls of the connection and hands the event to the hub. When the hub has it, a worker sends
// the reply with the event's number.
//
// An event to its signal: emitter.run waits in its subscription of the hub. emitter.send
// encodes each event once (wire.EncodeEvent) and queues it with bus.Signals. The outbox of
// package bus writes replies first, then a share of the signals.
//
// A change of a property to its signal: the hub leaves a token, announcer.run wakes and compares
// all properties with what it told last, sends PropertiesChanged, and sleeps a second.
//
// A pull that waits: call.waitEvents subscribes at the cursor and polls. If there is nothing,
// waits.start counts the wait against its limits and lets a goroutine wait in the
// subscription, until there is an event that passes, the time is over, the caller leaves, or
// the service stops. Then it answers with the events and the next cursor.
//
// # Files
//
// Read them in this order: service.go (sessions), methods.go (dispatch), report.go, waits.go,
// lists.go, properties.go, changes.go, introspect.go, emitter.go and lapses.go, errors.go. private.go starts a bus of
// our own, for trying things out.
package dbusapi
