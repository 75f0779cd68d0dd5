// Package wire is what the service and its client share: the D-Bus wire format, a connection
// to a bus, and the names, limits and errors of the interface.
//
// [Dial] connects to a bus, [Conn.Read] reads whole messages and [Conn.Write] writes them. A
// [Decoder] reads the values of a body as [hub.Value]; an [Encoder] writes messages.
//
// It exists beside godbus because what arrives here comes from strangers and what
// leaves here leaves often. Decoding checks everything before it allocates: size,
// signature, nesting, UTF-8, lengths, padding; there are no file descriptors; no
// input makes it panic. An event is encoded once, in the layout that the signal's
// body and the elements of the WaitEvents reply share, and copied from then on.
// Bodies of calls may hold secrets, so nothing of them is left in buffers ([Message.Clear]).
//
// Read names.go, errors.go and address.go first, then signature.go, decode.go, encode.go and
// message.go (the format), event.go (events in it), reader.go, conn.go and dial.go (the
// connection).
//
// The format is that of the D-Bus specification 0.43, "Message Protocol". Both byte
// orders are read, little endian is written.
package wire
