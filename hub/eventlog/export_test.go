package eventlog

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
	if l.head != nil {
		_ = l.head.Close()
	}
	l.head, l.file, l.pending, l.pendingFile = nil, nil, nil, nil
}
