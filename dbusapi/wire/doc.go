// Package wire is the D-Bus wire format of this service: messages, and between
// their bodies and [hub.Value]. It is pure: bytes in, values or an error out.
//
// It exists beside godbus because what arrives here comes from strangers and what
// leaves here leaves often. Decoding checks everything before it allocates: size,
// signature, nesting, UTF-8, lengths, padding; there are no file descriptors; no
// input makes it panic. An event is encoded once, in the layout that the signal's
// body and the elements of the WaitEvents reply share, and copied from then on.
//
// The format is that of the D-Bus specification 0.43, "Message Protocol". Both byte
// orders are read, little endian is written.
package wire
