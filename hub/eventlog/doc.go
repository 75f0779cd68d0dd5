// Package eventlog keeps the log of a [hub.Hub] on disk, in a directory of its own: append-only
// segments, bounded by size and count. Pass the result of [Open] to the hub, which calls the methods.
//
// # Promises
//
//   - An appended record survives the end of the process at any instant, because it is handed to
//     the kernel with write(2). Sync writes it to the disk; the hub calls that half a second after
//     a commit at the latest. A loss of power costs the records since the last Sync began, and
//     another epoch begins.
//   - Nothing is lost in silence. The head, a small file next to the segments, records the number of
//     the last event and the end of the segments. The next Load begins another epoch, in which
//     earlier cursors are invalid, if the segments end before that, if a segment is damaged, or if
//     the machine went down before the log was closed. It also does so for an abandoned log, whose
//     head has a mark because it lacks published events.
//   - Checksums find damage. It is cut off, and all whole records before it are kept. Only appended
//     records are replayed.
//   - A segment that cannot be read at all (another format, a foreign file) is moved to a directory
//     aside, not deleted.
//   - After a failure a new log replaces the old one only once all of it is on the disk, unless the
//     disk has no room for both.
//   - Only one process uses a directory at a time: it is locked, see [ErrInUse].
//   - The log is bounded, see [Config]. There are at most four directories aside; if the disk is
//     full, they are deleted first.
//
// Not promised: a restored backup of the directory goes unnoticed. Delete the head of a copy to begin
// a new epoch.
//
// # Files
//
//	log-N/                       a log; the one with the highest N is the current one
//	log-N/head                   129 bytes, overwritten with each record; the last byte is the mark
//	log-N/0000000000000007.seg   a segment: a header, then records; numbers count up
//	log-N.tmp/                   a log that is not finished; deleted by Load and Create
//	aside-N/                     segments and heads that could not be read
//
// Earlier versions had the head and the segments in the directory itself. Such a log stays there until
// a new one replaces it.
//
// A record is its length, a CRC-32C of the other fields, the number of its first event, its number of
// events, and data that this package does not interpret. Numbers are little-endian. A segment that
// begins after a Rotate starts with a snapshot, so that older segments can be dropped.
//
// Overwriting the head and the mark in place needs no further permission, and no room on file systems
// that do not copy on write. So it mostly works even when nothing else can be written.
//
// # Why not a library
//
// tidwall/wal, hashicorp/raft-wal, etcd's wal and bbolt either do not check the data that they read, or
// sync each append, which is far too slow, or cannot say whether a lost event had been published. The
// last point is the purpose of this package.
package eventlog
