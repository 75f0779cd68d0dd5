package hub

import "context"

// Log keeps logs of commits, of which one is current; hub/eventlog is the one on disk.
// It stores records and knows nothing of what is in them. A hub that was given a Log owns it.
// Its methods are called one at a time. They may block: then the hub goes on in memory.
type Log interface {
	// Load hands all stored records to replay, oldest first, and says where they end. A
	// record that replay refuses is damaged: it and what follows in its segment go. At the
	// end it asks whole whether the state is known that belongs to the last record.
	// Called once, before everything else. Trouble is no error but in Stored. When ctx is
	// done, the hub has begun without it: it ends soon, without a Writer, and a new log has
	// what is stored set aside.
	Load(ctx context.Context, replay func(Record) error, whole func() bool) Stored
	// Create begins a new log beside the current one. It counts from its Finish on.
	Create(epoch string) (Writer, error)
	// Room returns about how many bytes a new log may take; and whether MakeRoom could
	// make it more.
	Room() (room int64, more bool)
	// MakeRoom gives up something that is stored, the least worth first and the current log
	// last. It reports false if there is nothing left to give up.
	MakeRoom() bool
	// Close ends the use of all.
	Close() error
}

// Writer is one log that is written. Append, Full and Rotate are called one at a time; all
// others may be called beside them and each other, and Abandon also beside a method that hangs.
type Writer interface {
	// Append stores a record that follows the last one, so that it survives the end of
	// the process. After an error the log is abandoned.
	Append(record Record) error
	// Full reports whether it is time for Rotate. It never blocks, not even beside a method that
	// hangs.
	Full() bool
	// Rotate stores a snapshot, from which a Load can begin: so it drops the oldest records
	// that are over the limits. After an error the log is
	// abandoned.
	Rotate(snapshot []Record) error
	// Finish brings the new log to the disk, makes it the current one, and drops the old
	// one.
	Finish() error
	// Sync brings all records to the disk that were appended before. After an error the log is
	// abandoned: a later try might work, and would prove nothing.
	Sync() error
	// Abandon notes in the log that events are announced which it lacks, so that a Load
	// begins another epoch. An error means that it could not be noted.
	Abandon() error
	// Close brings a log that is finished to the disk. If clean, all that was announced is
	// in it, and the next Load need not fear for it even if the machine was restarted in
	// between. A log that is not finished is removed.
	Close(clean bool) error
}

// Record is what a [Writer] stores for one commit, or for a part of a snapshot.
type Record struct {
	First uint64 // number of its first event; of the next one if it has none
	Count uint32 // events in it
	Data  []byte // never empty; not kept by who is given it
}

// Stored says what a [Log] had stored.
type Stored struct {
	// Epoch is to be gone on with: the one before, or a new one if anything may be
	// missing that was announced.
	Epoch string
	// Next is the number after the last event.
	Next uint64
	// Writer goes on with what is stored, in Epoch. It is nil if nothing can be appended;
	// then Problem says why, and Epoch is a new one.
	Writer  Writer
	Problem error
}
