// Package wire connects to a bus and speaks the D-Bus wire format. It also has the names, limits and
// errors that the service and its client share.
//
// [Dial] connects to a bus, [Conn.Read] reads whole messages and [Conn.Write] writes them. A
// [Decoder] reads the values of a body as [hub.Value]; an [Encoder] writes messages.
//
// It replaces godbus where messages come from untrusted peers, or are sent often. Decoding checks
// size, signature, nesting, UTF-8, lengths and padding before it allocates. It accepts no file
// descriptors, and no input makes it panic. An event is encoded once, in the layout that the signal's
// body and the elements of the WaitEvents reply share, and then copied. Bodies of calls may hold
// secrets, so [Message.Clear] wipes them, and buffers keep no copy.
//
// Read names.go, errors.go and address.go first, then signature.go, decode.go, encode.go and
// message.go (the format), event.go (events in it), reader.go, conn.go and dial.go (the
// connection).
//
// The format is that of the D-Bus specification 0.43, "Message Protocol". Both byte
// orders are read, little endian is written.
package wire
