// Package rtnl is the edge to rtnetlink. Open a [Socket], call [Socket.Receive] in a loop,
// and ask for single links with [Socket.Link].
//
// # What it promises
//
//   - Messages come in the order in which the kernel queued them: links of kind veth, ids
//     of namespaces, and the answers to requests, from the watched namespace and from all
//     others that have an id in it. Each carries the id of the namespace that sent it.
//   - A message that was lost is an error of Receive: [ErrLost] when the kernel dropped it,
//     [ErrTruncated] and [ErrMalformed] when it cannot be read. The Socket stays usable.
//   - No bytes make it panic.
//   - Link asks on a second socket, so its answer never takes room in the queue of the first,
//     and waits for at most [AnswerTimeout].
//
// # How it works
//
// Requests and attributes are github.com/vishvananda/netlink's, as are the answers to
// questions. The listening socket is our own, because the library's subscription knows
// neither the sender's namespace (NETLINK_LISTEN_ALL_NSID) nor dropped messages (ENOBUFS), and
// its LinkDeserialize panics on some bytes. A filter in the kernel drops what is no veth.
package rtnl
