// Package rtnl is the edge to rtnetlink. Open a [Socket], call [Socket.Receive] in a loop,
// and ask for single links with [Socket.Link].
//
// # What it promises
//
//   - Messages come in the order in which the kernel queued them: links of kind veth, ids
//     of namespaces, and the answers to requests, from the watched namespace and from all
//     others that have an id in it. Each carries the id of the namespace that sent it.
//   - Receive reports lost messages by an error: [ErrLost] if the kernel dropped them,
//     [ErrMalformed] if they cannot be read. The Socket stays usable.
//   - No input makes it panic.
//   - Link asks on a second socket, so its answer takes no room in the queue of the first.
//     It waits for at most [AnswerTimeout].
//
// # How it works
//
// The library github.com/vishvananda/netlink builds requests, parses attributes, and sends
// the questions of Link. The listening socket is our own, because the library's subscription
// reports neither the sender's namespace (NETLINK_LISTEN_ALL_NSID) nor dropped messages
// (ENOBUFS). The decoder of links is our own, because LinkDeserialize panics on some bytes.
// A filter in the kernel drops links that are not veths.
package rtnl
