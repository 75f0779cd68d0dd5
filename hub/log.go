package hub

// Log is what makes commits durable; hub/eventlog is the one on disk. It stores
// records and knows nothing of what is in them. A hub that was given a Log owns it.
//
// All methods but Sync and Announce are called one at a time; these two may be called
// beside the others and each other. Append, Announce, Begin and Finish may be called
// with the hub's lock held: so they may not call back, nor block for longer than it
// takes to write what they are given.
type Log interface {
	// Load hands all stored records to replay, oldest first, and says where they end. A
	// record that replay refuses is damaged: it and what follows in its segment go.
	// Called once, before everything else. Trouble is no error but in Stored.
	Load(replay func(Record) error) Stored
	// Append stores a record that follows the last one, so that it survives the end of
	// the process. An error means that it is not stored, and nothing is until the
	// next Finish.
	Append(record Record) error
	// Announce notes that events up to last are announced that are not in the log: so
	// that, should they never get there, the next Load can tell. An error means that it
	// could not tell.
	Announce(epoch string, last uint64) error
	// Full reports whether the segment is large enough for another one to begin.
	Full() bool
	// Begin starts a segment that takes what is appended next, and counts from Finish
	// on. If keep, its records follow those that are stored; else they take the place
	// of all that is stored. It ends a segment that was begun and not finished.
	Begin(epoch string, keep bool) error
	// Room returns about how many bytes the segment that was begun may take.
	Room() int64
	// Finish makes the segment that was begun count, and drops old ones that are over
	// the limits.
	Finish() error
	// MakeRoom gives up the oldest of what is stored, to make room on the disk. It
	// reports false if there is nothing left to give up.
	MakeRoom() bool
	// Sync brings to the disk what was appended before. An error means that nothing
	// stored so far can be relied on, until all is written anew.
	Sync() error
	// Close syncs and closes. If clean, all that was announced is in the log, and the
	// next Load need not fear for it even if the machine was restarted in between.
	Close(clean bool) error
}

// Record is what a [Log] stores for one commit, or for a part of a snapshot.
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
	// Problem says why nothing can be appended, nil if all is well. Then Epoch is a
	// new one that is noted nowhere.
	Problem error
	// Unsynced says why all that is stored is to be written anew, nil if it is not: it is
	// whole, but a loss of power might cost it, as a process before could not sync it.
	Unsynced error
}
