// Package eventlog is the log of a [hub.Hub] on disk: append-only, in segments,
// bounded by size and count, in a directory of its own.
//
// # What it promises
//
//   - A record that was appended survives the end of the process at any instant: it
//     was handed to the kernel with write(2). It is brought to the disk by Sync, which
//     the hub calls within a second; so a loss of power costs at most the last second.
//   - Nothing is lost in silence. The head, a small file beside the segments, holds
//     the number of the last event that was announced. If the segments end before that
//     number, or are damaged, or if the machine was restarted without a clean end, the
//     next Load gives a new epoch: then no cursor of before is taken for valid.
//   - What is damaged is found by checksums and cut off; all whole records before it
//     are kept. Nothing that was not appended is ever replayed.
//   - What cannot be read at all (another format, a file that is none of ours) is set
//     aside in a directory beside the segments, not deleted.
//   - One process at a time: the head is locked, see [ErrInUse].
//
// # Files
//
//	head                   128 bytes, written in place with each record
//	0000000000000007.seg   a segment: a header, then records; numbers count up
//	*.tmp                  a segment that was begun and not finished; removed by Load
//	aside-N/               what could not be read
//
// A record is its length, a CRC-32C of all the rest, the number of its first event, how
// many events it has, and data that means nothing here. Numbers are little-endian.
//
// Writing the head in place needs no room on the disk, nor a permission that the
// open file does not have already. So it is true also when nothing else can be written.
//
// # Why not a library
//
// The ones that were looked at (tidwall/wal, hashicorp/raft-wal, etcd's wal, bbolt)
// either do not check what they read, or sync each append, which costs a hundred
// times what an event may cost, or cannot say whether what they lost had been
// handed out. That last is the point of this one; the rest is a file and a checksum.
package eventlog
