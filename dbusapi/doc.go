// Package dbusapi is the service org.osctl.Eventd: the methods, properties and signals of
// packaging/org.osctl.Eventd.xml on top of a [hub.Hub].
//
// Make a [Service] with [New] and run it with [Service.Run]. [Service.Ready] is closed when the name is
// owned, and a watchdog calls [Service.Check]. Package bus connects to the message bus, package wire has
// the wire format, and package client is for programs that report and follow events.
//
// # Promises
//
//   - Calls of one connection are handled in the order sent. Signals go out in the order of the
//     events' numbers.
//   - An answered report is committed to the hub.
//   - Signals are best effort. If the bus is so slow that the history drops unsent events, the signal
//     Lapped has their numbers. WaitEvents loses nothing.
//   - All memory that a client can fill is bounded: package bus limits queued calls, replies and
//     signals; pending waits are limited for each connection, each user, and in all.
//   - When the bus is lost, hub and watcher go on. The service reconnects with back-off and continues
//     with the first signal that was not written completely.
//   - When the context ends, further calls are refused. Within 4 s the service handles queued calls,
//     answers waits, sends the last signals, has the bus confirm them, and releases the name. It refuses
//     and logs calls that it has no time for. Lapped announces signals that it has no time for. The
//     log names those that the bus did not confirm.
//
// # Four paths through the code
//
// Report: bus.Bus reads the call and gives it a turn. handler.Handle finds the method, call.report
// decodes and checks the event (readEvent), call.commit holds further calls of the connection and
// submits the event to the hub. After the commit, a worker sends the reply with the event's number.
//
// Signal: emitter.run waits in its subscription of the hub. emitter.send encodes each event once
// (wire.EncodeEvent) and queues it with bus.Signals. The outbox of package bus writes replies first,
// then a share of the signals.
//
// PropertiesChanged: the hub leaves a token, announcer.run wakes, compares all properties with those it
// sent last, sends the changed ones, and sleeps a second.
//
// WaitEvents: call.waitEvents subscribes at the cursor and polls. If there is no event, waits.start
// counts the wait against the limits and starts a goroutine that waits in the subscription, until a
// matching event, the timeout, the caller's end, or the end of the service. Then it answers with the
// events and the next cursor.
//
// # Files
//
// Read them in this order: service.go (sessions), methods.go (dispatch), report.go, waits.go, lists.go,
// properties.go, changes.go, introspect.go, emitter.go, lapses.go and errors.go. private.go starts a
// private bus, to try the service.
package dbusapi
