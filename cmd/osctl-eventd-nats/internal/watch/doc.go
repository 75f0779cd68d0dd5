// Package watch reads the events of a fleet from its stream. Call [Run] with a function that handles
// each [Update]. Package fleet describes the stream.
//
// # What it promises
//
//   - Run delivers each message once and in order, from the position in [Config], despite failures of
//     the server and of the network.
//   - Run reports missing events: those that the host reports, and those that the stream dropped
//     before Run read them. It also reports if it cannot know whether events were dropped.
//   - Run reports once that a host went silent, and once that it is back.
//   - Memory is bounded by [fleet.MaxHosts] and by what the server sends at once.
//
// Not promised: anything about the content. Any holder of a host's credential may write for the host.
// So Run checks the form of names, events and records, but the caller must make their text printable.
//
// # How it works
//
// A session connects, and reads on after the last message. After any error the session ends, and the
// next session continues there.
package watch
