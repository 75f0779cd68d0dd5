package eventlog

import "os"

// Kill closes what the process has open and writes nothing, as the end of the process
// does.
func (l *Log) Kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.takeFormer() {
		_ = f.Close()
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	if l.pendingFile != nil {
		_ = l.pendingFile.Close()
	}
	for _, f := range []*os.File{l.head, l.dir} {
		if f != nil {
			_ = f.Close()
		}
	}
	l.dir, l.head, l.file, l.pending, l.pendingFile = nil, nil, nil, nil, nil
}

// BreakHead has writes to the head fail until the function that it returns is called.
func (l *Log) BreakHead() (mend func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	good := l.head
	l.head, _ = os.Open(good.Name())
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = l.head.Close()
		l.head = good
	}
}

// BreakSegment closes the file of the current segment, so that appending to it fails.
func (l *Log) BreakSegment() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close()
}
