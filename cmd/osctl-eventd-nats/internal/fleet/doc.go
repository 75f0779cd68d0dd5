// Package fleet is the form in which the events of many hosts lie in one JetStream stream. The
// bridge on a host writes it, and whoever watches the fleet reads it.
//
// # The stream
//
// Each host has one subject, [Subject], and writes [Message] values to it: consecutive events of
// osctl-eventd as lines of JSON, the same lines as those of osctl-eventctl monitor --json; or one
// [Record] of the bridge itself, whose type begins with an underscore, as no event's does.
//
// The header of a message says where the host is after it: [HeaderCursor]. Events and progress
// are thus one write. [Link.Publish] has the server refuse a message unless the last one on the subject is the
// one that its sender knows. From these two follow order, no duplicates and no holes, however
// many bridges run and whatever dies.
//
// # What a reader may rely on
//
// Within a host and an epoch the events' numbers are consecutive, unless a [Record] of type
// [TypeGap] stands between them, which says from which cursor to which, and why. A message
// without a cursor, or one that the server copied from elsewhere, was not written by a bridge:
// see [ParseHead].
package fleet
