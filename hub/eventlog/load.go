package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/osctl/eventd/hub"
)

// Load implements [hub.Log].
func (l *Log) Load(ctx context.Context, replay func(hub.Record) error, whole func() bool) hub.Stored {
	l.opening.Lock() // waits for the goroutine of Open
	defer l.opening.Unlock()
	r := reader{log: l, ctx: ctx, replay: replay}
	stored := hub.Stored{Problem: l.openErr}
	var w *Writer
	if l.openErr == nil { // otherwise another process may use the directory
		w, stored.Problem = l.load(&r)
	}
	stored.Epoch, stored.Next = r.old.epoch, r.last()+1
	if why := r.whyNewEpoch(whole()); why != "" {
		stored.Epoch = hub.NewEpoch()
		if ctx.Err() == nil && (r.old.found || len(r.segments) > 0) {
			l.log.Warn("earlier cursors are no longer valid: a new epoch begins",
				slog.String("because", why), slog.Uint64("last_event", r.last()))
		}
	}
	stored.Problem = errors.Join(stored.Problem, ctx.Err())
	if stored.Problem == nil {
		w, stored.Problem = l.resume(w, &r, stored.Epoch)
	}
	if err := ctx.Err(); err != nil { // the caller discards the records
		l.loaded, stored.Problem = false, errors.Join(stored.Problem, err)
	}
	if stored.Problem != nil && stored.Epoch == r.old.epoch {
		stored.Epoch = hub.NewEpoch() // because the log will lack events
	}
	if w != nil {
		stored.Writer = w
	}
	return stored
}

// load reads the current log, if there is one.
func (l *Log) load(r *reader) (*Writer, error) {
	dirs, err := l.logDirs()
	if err != nil {
		return nil, err
	}
	var newest *logDir
	for i := range dirs {
		if !dirs[i].unfinished {
			newest = &dirs[i]
		}
	}
	if newest == nil {
		l.loaded = true
		return nil, nil //nolint:nilnil // having no log is no error
	}
	w := &Writer{log: l, number: newest.number, path: newest.path, finished: true}
	headPath := filepath.Join(newest.path, headName)
	w.head, err = openFile(headPath, os.O_RDWR|os.O_CREATE)
	problem := err
	if err != nil {
		w.head, err = openFile(headPath, os.O_RDONLY)
	}
	if err == nil {
		r.old, err = readHead(w.head)
	}
	if err == nil {
		err = r.read(newest.path)
	}
	l.loaded = err == nil
	if problem == nil {
		problem = err
	}
	return w, problem
}

// resume makes the loaded log ready for new records. It writes the head first, to record that the log
// is in use.
func (l *Log) resume(w *Writer, r *reader, epoch string) (*Writer, error) {
	if w == nil {
		return l.createFirst(epoch)
	}
	if r.old.problem != nil {
		l.copyAside(headName, r.old.content)
	}
	w.segments = r.segments
	w.state = head{epoch: epoch, boot: bootHash(l.config.Boot), last: r.last(), synced: r.old.synced}
	if err := w.reopen(); err != nil {
		return w, err
	}
	w.updateLimit()
	w.prune()
	err := w.writeWholeHead() // in one write, because the mark may change only with the epoch
	if err == nil {
		err = w.head.Truncate(headSize + 1)
	}
	if err == nil {
		err = l.hooks.syncFile(w.head)
	}
	if err == nil {
		l.removeUnfinished()
		err = l.removeOlder(w.number)
	}
	return w, err
}

// createFirst creates the first log.
func (l *Log) createFirst(epoch string) (*Writer, error) {
	l.newestNumber++
	w, err := l.create(l.newestNumber, epoch)
	if err == nil {
		err = w.Finish()
	}
	return w, err
}

// reopen opens the segments, because the previous process may not have synced them, and cuts off the
// damaged end of the last one.
func (w *Writer) reopen() error {
	if len(w.segments) == 0 {
		return w.nextSegment(nil)
	}
	for _, s := range w.segments {
		var err error
		if s.file, err = openFile(s.path(w.path, segmentSuffix), os.O_RDWR); err != nil {
			return err
		}
	}
	w.dirty, w.dirDirty = true, true
	return w.last().file.Truncate(w.last().size)
}
