// Package bridge reports names, exit codes and health of containers to osctl-eventd. [Run] follows the
// engines (docker, and podman, which serves the same API) through their sockets, and the pods of
// Kubernetes through the directories of the kubelet.
//
// It promises:
//
//   - After each start of a runtime, of osctl-eventd, of the bus or of the bridge, osctl-eventd gets the
//     names that the runtime has.
//   - An exit is reported once, whatever is killed at any time, as long as the runtime has the event.
//   - A name is reported again only when it changed, or when osctl-eventd lost it.
//   - The memory that a runtime can use, and the events that it can cause, are bounded.
//
// A session with an engine reads from osctl-eventd what was reported already. It asks the engine for its
// containers, and for all events since shortly before the last position, and reports what is new. Any
// error ends the session, and the next one starts in the same way. So there is one way to continue, and
// no state to repair. The position is in a file for each engine, and bounds how far back a session asks.
// The history of osctl-eventd decides what is new, because it has every report that was answered; the
// file may be older.
//
// For pods, the bridge reads the reported names from the list of containers, not from the history.
package bridge
