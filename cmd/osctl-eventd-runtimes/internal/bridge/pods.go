package bridge

import (
	"cmp"
	"context"
	"encoding/binary"
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
	// maxPods is how many entries of the directory are looked at.
	maxPods = 8192
	// maxUID and minUID are how long the uid of a pod is: 36 with dashes, or the 32 of a hash.
	minUID, maxUID = 32, 36
	// inotifyBuffer holds some events.
	inotifyBuffer = 4096
)

var errReplaced = errors.New("the directory was moved or removed")

// pod is the directory of a pod, below /var/log/pods: NAMESPACE_NAME_UID.
type pod struct {
	uid, name string
	made      time.Time
}

// parsePod reads the name of a directory.
func parsePod(entry string) (uid, name string, ok bool) {
	namespace, rest, ok1 := strings.Cut(entry, "_")
	name, uid, ok2 := strings.Cut(rest, "_")
	ok = ok1 && ok2 && namespace != "" && name != "" && len(uid) >= minUID && len(uid) <= maxUID && strings.Trim(uid, "0123456789abcdef-") == ""
	return uid, plain(namespace+"/"+name, maxName), ok
}

// readPods returns the names of pods by uid. Where two pods have the same name, the older one is about
// to go, and its name is "". It also returns whether these are all.
func readPods(dir string, limit int) (names map[string]string, all bool, err error) {
	d, err := os.Open(dir) //nolint:gosec // that of the flag
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
		about, err := entry.Info()
		if err != nil {
			continue // it has gone
		}
		p := pod{uid, name, about.ModTime()}
		names[uid] = ""
		if other, ok := newest[name]; !ok || cmp.Or(p.made.Compare(other.made), cmp.Compare(p.uid, other.uid)) > 0 {
			newest[name] = p
		}
	}
	for _, p := range newest {
		names[p.uid] = p.name
	}
	return names, len(entries) < limit, nil
}

// followPods connects to the service, and reports the names of pods until something fails.
func (l *loop) followPods(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	service, stop, err := l.connect(ctx, cancel)
	if err != nil {
		return err
	}
	defer stop()
	known, err := readTold(ctx, service, l.name)
	if err != nil {
		return err
	}
	watch, err := watchDir(l.socket)
	if err != nil {
		return err
	}
	defer func() { _ = watch.Close() }()
	defer context.AfterFunc(ctx, func() { _ = watch.SetReadDeadline(time.Unix(1, 0)) })()
	s := &session{pool: l.name, log: l.log, service: service, bucket: l.bucket, told: known, status: l.status}
	for buffer := make([]byte, inotifyBuffer); ; {
		names, all, err := readPods(l.socket, maxPods)
		if err == nil {
			s.partial = !all
			err = s.comparePods(ctx, names)
		}
		if err == nil {
			err = awaitChange(watch, buffer)
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
	}
}

// watchDir returns an inotify that tells of entries of a directory that come and go, and of its end.
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

// awaitChange waits until something changes in the directory. It is an error if the directory is no
// longer the one that is watched: there may be another one of its name.
func awaitChange(watch io.Reader, buffer []byte) error {
	n, err := watch.Read(buffer)
	if err != nil {
		return err
	}
	for events := buffer[:n]; len(events) >= unix.SizeofInotifyEvent; {
		mask, name := binary.NativeEndian.Uint32(events[4:]), int(binary.NativeEndian.Uint32(events[12:]))
		if mask&(unix.IN_IGNORED|unix.IN_MOVE_SELF) != 0 {
			return errReplaced
		}
		events = events[min(len(events), unix.SizeofInotifyEvent+name):]
	}
	return nil
}

// comparePods reports the names of pods that the service does not have, and pods that are gone.
func (s *session) comparePods(ctx context.Context, names map[string]string) error {
	var reports []client.Report
	for uid, known := range s.told.infos {
		if _, there := names[uid]; !there && known.name != "" && !s.partial {
			delete(s.told.infos, uid)
			reports = append(reports, dbReport(s.pool, uid, "remove", known.name))
		}
	}
	for uid, name := range names {
		if name != "" && s.told.infos[uid].name != name {
			s.told.infos[uid] = info{name: name}
			reports = append(reports, infoReport(s.pool, uid, info{name: name}))
		}
	}
	s.status.follow(len(names), "pod")
	return s.report(ctx, reports)
}
