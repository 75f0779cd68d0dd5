package hub

import "context"

// Log stores the hub's commits as records; package eventlog is the implementation on disk. It does
// not interpret the records. A Log may hold several logs; one is current. The hub owns the
// Log that it is given, and calls its methods one at a time. They may block: then the hub continues
// in memory.
type Log interface {
	// Load calls replay with all stored records, oldest first, and returns where they end. A
	// record that replay refuses is damaged: Load drops it and the rest of its segment. Last
	// it calls whole, which reports whether the records make up the whole state. The hub
	// calls Load once, before everything else. When ctx is done, nobody continues from the log:
	// then Load returns soon, with a Problem, and the next Finish sets aside what is stored.
	Load(ctx context.Context, replay func(Record) error, whole func() bool) Stored
	// Create begins a new log beside the current one. Finish makes it the current one.
	Create(epoch string) (Writer, error)
	// Room returns how many bytes a new log may take, approximately, and whether MakeRoom
	// could make that more.
	Room() (room int64, more bool)
	// MakeRoom deletes something that is stored: what was set aside first, the current log
	// last. It reports false if nothing is left to delete.
	MakeRoom() bool
	// Close releases the Log.
	Close() error
}

// Writer writes one log. Append, Full and Rotate are called one at a time. The other methods may be
// called beside those and each other, and Abandon even beside a method that hangs.
type Writer interface {
	// Append stores a record that follows the last one, so that it survives the end of
	// the process. After an error the hub abandons the log.
	Append(record Record) error
	// Full reports whether Rotate is due. It never blocks, not even beside a method that hangs.
	Full() bool
	// Rotate stores a snapshot, from which a Load can begin. A finished log then drops its
	// oldest records beyond the limits. After an error the hub abandons the log.
	Rotate(snapshot []Record) error
	// Finish syncs the new log, makes it the current one, and deletes the old one.
	Finish() error
	// Sync brings all records to the disk that were appended before. After an error the hub
	// abandons the log: a later sync may succeed although records are lost.
	Sync() error
	// Abandon marks the log, as it is going to lack events, so that a Load begins another
	// epoch. An error means that the mark could not be written.
	Abandon() error
	// Close syncs and closes a finished log. If clean, it has all events, and the next Load
	// keeps the epoch even if the machine was restarted in between. Close deletes a log that
	// is not finished.
	Close(clean bool) error
}

// Record is what a [Writer] stores for one commit, or for a part of a snapshot.
type Record struct {
	First uint64 // number of its first event; of the next one if it has none
	Count uint32 // events in it
	Data  []byte // never empty; neither side keeps it after the call
}

// Stored is the result of a [Log]'s Load.
type Stored struct {
	// Epoch is the epoch from now on: the one before, or a new one if an event may be missing
	// that was published.
	Epoch string
	// Next is the number after the last event.
	Next uint64
	// Writer appends to what is stored, in Epoch.
	Writer Writer
	// Problem says why nothing can be appended. Then Epoch is a new one, and Writer, if there
	// is one, only good for Abandon.
	Problem error
}
