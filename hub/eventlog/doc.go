// Package eventlog is the log of a [hub.Hub] on disk: append-only, in segments,
// bounded by size and count, in a directory of its own.
//
// # What it promises
//
//   - A record that was appended survives the end of the process at any instant: it
//     was handed to the kernel with write(2). It is brought to the disk by Sync, which
//     the hub begins half a second after a commit at the latest; a loss of power costs
//     what came since the last one began, and never in silence.
//   - Nothing is lost in silence. The head, a small file beside the segments, holds
//     the number of the last event that was announced and where the segments ended. If
//     they end before that, or are of another epoch, or if the machine was restarted
//     without a clean end, the next Load gives a new epoch: then no cursor of before is
//     taken for valid. If even the head cannot be written, the hub is told, and
//     announces no more in an epoch that a Load could go on with.
//   - What cannot be synced is not relied on, whatever the next try says: it is written
//     anew, by the next process if need be. What was synced stays until what takes its
//     place is, and the head that says so, and is gone back to if the power fails before
//     that; only a disk that has not the room for both loses it at once.
//   - What is damaged is found by checksums and cut off; all whole records before it
//     are kept. Nothing that was not appended is ever replayed.
//   - What cannot be read at all (another format, a file that is none of ours) is set
//     aside in a directory beside the segments, not deleted.
//   - One process at a time: the directory is locked, see [ErrInUse].
//   - It is bounded: see [Config]; and at most four directories of what was set aside,
//     which a full disk costs first.
//
// Not promised: that a copy of the directory that is put back, as from a backup, is
// noticed. Remove the head of a copy: then a new epoch begins.
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
// Writing the head in place needs no permission that the open file does not have already,
// and on most file systems (not those that copy on write) no room on the disk. So it is
// true mostly also when nothing else can be written.
//
// # Why not a library
//
// The ones that were looked at (tidwall/wal, hashicorp/raft-wal, etcd's wal, bbolt)
// either do not check what they read, or sync each append, which costs a hundred
// times what an event may cost, or cannot say whether what they lost had been
// handed out. That last is the point of this one; the rest is a file and a checksum.
package eventlog
