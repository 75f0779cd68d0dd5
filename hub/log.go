package hub

import "context"

// Log stores the hub's commits as records, which it does not interpret; package eventlog implements
// it on disk. A Log may hold several logs, one of which is current. The hub owns its Log and calls
// the methods one at a time. If a method blocks, the hub continues in memory.
type Log interface {
	// Load calls replay with all stored records, oldest first, and returns where they end. If
	// replay refuses a record, Load drops it and the rest of its segment as damaged. At the
	// end Load calls whole, which reports whether the records make up the whole state. The hub
	// calls Load once, before any other method. When ctx is done, Load returns soon, with a
	// Problem, and the next Finish sets aside the stored records.
	Load(ctx context.Context, replay func(Record) error, whole func() bool) Stored
	// Create begins a new log. The current one stays until Finish replaces it.
	Create(epoch string) (Writer, error)
	// Room returns how many bytes a new log may take, approximately, and whether MakeRoom
	// could free more.
	Room() (room int64, more bool)
	// MakeRoom deletes stored data: first the data set aside, the current log last. It returns
	// false if nothing is left to delete.
	MakeRoom() bool
	// Close releases the Log.
	Close() error
}

// Writer writes one log. Append, Full and Rotate are called one at a time. The other methods may be
// called at the same time as those and each other. Abandon and Full work even while another method
// hangs.
type Writer interface {
	// Append stores a record that follows the last one, so that it survives the end of
	// the process. After an error the hub abandons the log.
	Append(record Record) error
	// Full reports whether the hub should call Rotate. It never blocks.
	Full() bool
	// Rotate stores a snapshot, from which a Load can begin. A finished log then drops its
	// oldest records beyond the limits. After an error the hub abandons the log.
	Rotate(snapshot []Record) error
	// Finish syncs the new log, makes it the current one, and deletes the old one.
	Finish() error
	// Sync writes all records appended before to the disk. After an error the hub abandons the
	// log, because a later sync may succeed although records are lost.
	Sync() error
	// Abandon marks the log as incomplete, so that the next Load begins another epoch. The hub
	// calls it before the log lacks an event. An error means that the mark was not written.
	Abandon() error
	// Close syncs and closes a finished log. If clean, the log has all events, and the next
	// Load keeps the epoch even after a reboot. Close deletes a log that is not finished.
	Close(clean bool) error
}

// Record is the stored form of one commit, or of a part of a snapshot.
type Record struct {
	First uint64 // number of its first event; if it has none, of the next event
	Count uint32 // events in it
	Data  []byte // never empty; valid only during the call
}

// Stored is the result of a [Log]'s Load.
type Stored struct {
	// Epoch is the stored epoch, or a new one if a published event may be missing.
	Epoch string
	// Next is the number after the last event.
	Next uint64
	// Writer appends to the loaded log, in Epoch.
	Writer Writer
	// Problem says why nothing can be appended. Then Epoch is a new one, and only Abandon of
	// Writer, which may be nil, can be called.
	Problem error
}
