// Package eventlog is the log of a [hub.Hub] on disk: append-only, in segments,
// bounded by size and count, in a directory of its own.
//
// # Promises
//
//   - A record that was appended survives the end of the process at any instant: it
//     was handed to the kernel with write(2). Sync brings it to the disk; the hub calls that
//     half a second after a commit at the latest. A loss of power costs the records since the
//     last Sync began, and then another epoch begins.
//   - Nothing is lost in silence. The head, a small file beside the segments, holds
//     the number of the last event and where the segments end. If they end before that, or if
//     something in them is damaged, or if the machine was restarted without a clean end, the
//     next Load begins another epoch: then no cursor of before is taken for valid. The same if
//     the log was abandoned: a mark in the head says that events were announced that it lacks.
//   - Damage is found by checksums and cut off; all whole records before it
//     are kept. Nothing that was not appended is ever replayed.
//   - A segment that cannot be read at all (another format, a file that is none of ours) is set
//     aside in a directory beside the log, not deleted.
//   - After trouble a new log replaces the old one once all of it is on the disk, and not
//     before; except where there is no room for both.
//   - One process at a time: the directory is locked, see [ErrInUse].
//   - It is bounded: see [Config]; and at most four directories aside, which a full disk
//     costs first.
//
// Not promised: that a copy of the directory that is put back, as from a backup, is
// noticed. Remove the head of a copy: then a new epoch begins.
//
// # Files
//
//	log-N/                       the log with the highest N counts
//	log-N/head                   129 bytes, written in place with each record; the last is the mark
//	log-N/0000000000000007.seg   a segment: a header, then records; numbers count up
//	log-N.tmp/                   a log that was begun and not finished; removed by Load and Create
//	aside-N/                     segments and heads that could not be read
//
// Earlier versions had the head and the segments in the directory itself. Such a log is gone on
// with where it is.
//
// A record is its length, a CRC-32C of all the rest, the number of its first event, how
// many events it has, and data that means nothing here. Numbers are little-endian. A segment but
// the first begins with a snapshot, so that those before can be dropped.
//
// Writing the head and the mark in place needs no permission that the open file does not have
// already, and on most file systems (not those that copy on write) no room on the disk. So it
// works mostly also when nothing else can be written.
//
// # Why not a library
//
// The ones that were looked at (tidwall/wal, hashicorp/raft-wal, etcd's wal, bbolt)
// either do not check what they read, or sync each append, which costs a hundred
// times what an event may cost, or cannot say whether what they lost had been
// handed out. That last is the point of this one; the rest is a file and a checksum.
package eventlog
