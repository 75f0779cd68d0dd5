package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/dbusapi/client"
)

const (
	// maxPods limits the entries of the directory. The bridge ignores the rest.
	maxPods = 8192
	// minUID and maxUID are the lengths of a pod's uid: 32 for a hash, 36 with dashes.
	minUID, maxUID = 32, 36
	// inotifyBuffer is the size of a read, enough for any event.
	inotifyBuffer = 4096
)

// pod is the directory of a pod, below /var/log/pods: NAMESPACE_NAME_UID.
type pod struct {
	uid, name string
	modified  time.Time
}

// parsePod parses the name of a pod's directory.
func parsePod(entry string) (uid, name string, ok bool) {
	namespace, rest, ok1 := strings.Cut(entry, "_")
	name, uid, ok2 := strings.Cut(rest, "_")
	ok = ok1 && ok2 && namespace != "" && name != "" && len(uid) >= minUID && len(uid) <= maxUID && strings.Trim(uid, "0123456789abcdef-") == ""
	return uid, plain(namespace+"/"+name, maxName), ok
}

// readPods returns the names of pods by uid. If two pods have the same name, the name of the older one is "",
// because it is about to be removed. all is false if the directory has more entries than limit.
func readPods(dir string, limit int) (names map[string]string, all bool, err error) {
	d, err := os.Open(dir) //nolint:gosec // the directory of the flag
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = d.Close() }()
	entries, err := d.ReadDir(limit)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	names = map[string]string{} // by uid
	newest := map[string]pod{}  // by name
	for _, entry := range entries {
		uid, name, ok := parsePod(entry.Name())
		if !ok || !entry.IsDir() {
			continue
		}
		details, err := entry.Info()
		if err != nil {
			continue // it was removed
		}
		p := pod{uid, name, details.ModTime()}
		names[uid] = ""
		if other, ok := newest[name]; !ok || cmp.Or(p.modified.Compare(other.modified), cmp.Compare(p.uid, other.uid)) > 0 {
			newest[name] = p
		}
	}
	for _, p := range newest {
		names[p.uid] = p.name
	}
	return names, len(entries) < limit, nil
}

// followPods connects to osctl-eventd, and reports the names of pods until an error.
func (l *loop) followPods(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	service, stop, err := l.connect(ctx, cancel)
	if err != nil {
		return err
	}
	defer stop()
	known, err := readReported(ctx, service, l.pool)
	if err != nil {
		return err
	}
	s := &session{loop: l, service: service, reported: known}
	for {
		err := s.updatePods(ctx)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
	}
}

// updatePods reports how the pods differ from what was reported, and waits for a change in the directory. The
// watch begins before the directory is read, and in each round anew, because another directory may have the name.
func (s *session) updatePods(ctx context.Context) error {
	watch, err := watchDir(s.socket)
	if err != nil {
		return err
	}
	defer func() { _ = watch.Close() }()
	defer context.AfterFunc(ctx, func() { _ = watch.SetReadDeadline(time.Unix(1, 0)) })()
	names, all, err := readPods(s.socket, maxPods)
	if err != nil {
		return err
	}
	s.incomplete = !all
	if err := s.comparePods(ctx, names); err != nil {
		return err
	}
	_, err = watch.Read(make([]byte, inotifyBuffer))
	return err
}

// watchDir returns an inotify instance that watches for new and removed entries of a directory, and for its
// own removal.
func watchDir(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	watch := os.NewFile(uintptr(fd), "inotify")
	const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		_ = watch.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return watch, nil
}

// comparePods reports the names of pods that osctl-eventd lacks, and the pods that were removed.
func (s *session) comparePods(ctx context.Context, names map[string]string) error {
	var reports []client.Report
	for uid, known := range s.reported.infos {
		if _, there := names[uid]; !there && known.name != "" && !s.incomplete {
			delete(s.reported.infos, uid)
			reports = append(reports, dbReport(s.pool, uid, "remove", known.name))
		}
	}
	for uid, name := range names {
		if name != "" && s.reported.infos[uid].name != name {
			s.reported.infos[uid] = info{name: name}
			reports = append(reports, infoReport(s.pool, uid, info{name: name}))
		}
	}
	s.status.setFollowed(len(names), "pod")
	return s.report(ctx, reports)
}
