// Package forward copies the events of this host's osctl-eventd to a JetStream stream. Call [Run].
// Package fleet describes the stream.
//
// # What it promises
//
//   - Each event is in the stream once and in the order of its number; otherwise a record of type _gap
//     in its place says which events are missing. That holds whichever process dies at any instant,
//     for any number of bridges at once, and for a stopped bridge that continues after another one
//     took over.
//   - NATS may be away for as long as osctl-eventd keeps the events. The bridge buffers nothing.
//   - Memory is bounded by three replies of osctl-eventd and one message.
//   - Two machines with one name do not mix their events: the second one stops with a [FenceError],
//     until an administrator lets it take over.
//
// Not promised: if the server loses the stream, the bridge writes only events that osctl-eventd still
// keeps. If the stream has no message of the host and the state file is lost, the bridge writes kept
// events again.
//
// # How it works
//
// A session connects, reads the last message of the host (the head), and follows osctl-eventd from
// the cursor in it. Each message carries the number of the head, and the server refuses a message that
// does not follow the head. One message is in flight at a time. After any error the content of the
// stream is unknown, so the session ends, and the next session reads the head again.
package forward
