// Package bridge reports to osctl-eventd what container runtimes know: how people call a container,
// its exit code, its health. [Run] follows the engines whose sockets are there (docker, and podman,
// which serves the same API), and the directories that the kubelet makes for pods.
//
// It promises:
//
//   - After each (re)start of a runtime, of osctl-eventd, of the bus or of the bridge the service
//     has the names that the runtime tells.
//   - An exit is told once, whatever is killed at any time, as long as the runtime still tells it.
//   - A name is told again only when it changed.
//   - Whatever a runtime says costs a bounded amount of memory, and a bounded number of events.
//
// A session with an engine reads from osctl-eventd what was told already, asks the engine for its
// containers and for all events since shortly before the last position, and reports what is new.
// Whatever fails ends the session, and the next one begins like that again. So there is one way to
// go on, and nothing to repair. The position is in a file for each engine, and bounds how far back
// to ask. The history of osctl-eventd decides what is new, because it has every report that was
// answered; the file may be older.
//
// The name of a pod is not in that history, but in the list of containers.
package bridge
