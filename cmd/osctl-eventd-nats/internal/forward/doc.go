// Package forward copies the events of this host's osctl-eventd into a JetStream stream: [Run] is
// all that it has. Package fleet says what the stream looks like.
//
// # What it promises
//
//   - Each event is in the stream once and in the order of its number, or a record of type _gap
//     stands in its place and says which are missing. That holds whatever dies at any instant, for
//     any number of bridges at once, and for one that stood still while another took over.
//   - NATS may be away for as long as osctl-eventd keeps its history. Nothing is buffered here.
//   - Memory is bounded: by three replies of osctl-eventd and one message.
//   - Two machines that have one name do not mix their events: the second one stops with a
//     [FenceError], until an administrator says that it shall take over.
//
// Not promised: a stream that the server loses is filled again only from what osctl-eventd still
// keeps; and without the state file, events come twice once the stream has nothing of the host
// any more.
//
// # How it works
//
// A session connects, reads the last message of the host (the head), and follows osctl-eventd
// from the cursor in it. Each message carries the number that the head has in the stream, and one
// message is under way at a time. The server refuses a message that does not follow the head. After
// any error it is not known what the stream has, so the session ends, and the next one reads the
// head again.
package forward
