// Package fleet defines how one JetStream stream holds the events of many hosts. The bridge on each
// host writes to the stream by a [Link], and readers parse its messages by a [Track].
//
// # The stream
//
// Each host has one subject, [Subject]. A [Message] on it has consecutive events of osctl-eventd as
// lines of JSON, in the format of osctl-eventctl monitor --json; or one [Record] of the bridge itself,
// whose type begins with an underscore, unlike that of any event.
//
// The header [HeaderCursor] is the cursor of the host after the message, so that one write stores
// events and progress. The server refuses a message of [Link.Publish] unless its sender knows the
// last message on the subject. So events stay in order, without duplicates and holes, however many
// bridges run and whichever process dies.
//
// # What a reader may rely on
//
// Within a host and an epoch the numbers of events are consecutive, unless a [Record] of type
// [TypeGap] between them says which are missing, and why. A message without a cursor, or one that the
// server copied from elsewhere, was not written by a bridge: see [ParseHead].
package fleet
