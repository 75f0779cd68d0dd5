// Package watch reads the events of a fleet from its stream: [Run] is all that it has. Package fleet
// says what the stream looks like.
//
// # What it promises
//
//   - Each message of the stream comes once and in order, from where [Config] says, over any number of
//     failures of the server and of the network.
//   - What is missing is told: what the host says is missing, and what the stream dropped before it
//     was read. Where it is not known whether events were dropped, that is told, too.
//   - A host that fails to say that it lives is told once, and once that it is back.
//   - Memory is bounded: by what the server sends at once, and by [fleet.MaxHosts].
//
// Not promised: anything about what a host writes. Whoever has its credential may write there, so names, events
// and records are checked for their form, and their text is for the caller to make printable.
//
// # How it works
//
// A session connects, and reads on after the last message that was read. After any error the session
// ends, and the next one begins there.
package watch
