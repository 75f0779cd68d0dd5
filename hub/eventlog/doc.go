// Package eventlog is the log of a hub.Hub on disk: append-only, in segments, bounded by size and
// count, in a directory of its own. [Open] opens it; the hub calls the rest.
//
// # Promises
//
//   - A record that was appended survives the end of the process at any instant, because it was
//     handed to the kernel with write(2). Sync brings it to the disk; the hub calls that half a
//     second after a commit at the latest. A loss of power costs the records since the last Sync
//     began, and then another epoch begins.
//   - Nothing is lost in silence. The head, a small file beside the segments, has the number of the
//     last event and where the segments end. If they end before that, if something in them is
//     damaged, or if the machine went down before the log was closed, the next Load begins another
//     epoch: then no cursor from before is valid. The same holds for an abandoned log: a mark in
//     the head says that it lacks events that were published.
//   - Damage is found by checksums and cut off; all whole records before it are kept. Nothing is
//     replayed that was not appended.
//   - A segment that cannot be read at all (another format, a foreign file) is set aside in a
//     directory beside the log, not deleted.
//   - After trouble a new log replaces the old one once all of it is on the disk, and not before;
//     except if the disk has no room for both.
//   - Only one process uses a directory at a time: it is locked, see [ErrInUse].
//   - The log is bounded: see [Config]. So are the directories aside: there are four at most, and
//     a full disk costs these first.
//
// Not promised: that it notices a copy of the directory that is put back, as from a backup. Delete
// the head of a copy to begin a new epoch.
//
// # Files
//
//	log-N/                       a log; the one with the highest N is the current one
//	log-N/head                   129 bytes, written in place with each record; the last is the mark
//	log-N/0000000000000007.seg   a segment: a header, then records; numbers count up
//	log-N.tmp/                   a log that is not finished; deleted by Load and Create
//	aside-N/                     segments and heads that could not be read
//
// Earlier versions had the head and the segments in the directory itself. Such a log is used where
// it is until a new one replaces it.
//
// A record is its length, a CRC-32C of all the rest, the number of its first event, how many events
// it has, and data that this package does not interpret. Numbers are little-endian. Each segment
// that follows a Rotate begins with a snapshot, so that those before it can be dropped.
//
// To overwrite the head and the mark in place, the open file needs no further permission, and no
// room on file systems that do not copy on write. So that mostly works even when nothing else can
// be written.
//
// # Why not a library
//
// tidwall/wal, hashicorp/raft-wal, etcd's wal and bbolt either do not check what they read, or sync
// each append, which costs a hundred times what an event may cost, or cannot say whether what they
// lost had been published. This package is for the last of these; the rest is a file and a
// checksum.
package eventlog
