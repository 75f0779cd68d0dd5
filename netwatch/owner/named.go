package owner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxNames is how many names a walk asks about.
const maxNames = 4096

// runtimeNames are the names that CNI, podman and cri-o give to the namespaces of
// containers, which are in use before the first process of the container is there.
// Its cgroup says better whose they are, so the name is taken only if that did not
// come up within nameGrace, which is more than any runtime needs.
const (
	runtimeNames = `^(?:cni-|netns-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	nameGrace    = 2 * time.Second
)

// walkNames looks for an nsid among the named namespaces. The duration is for how
// long it has been asked for.
func (f *Finder) walkNames(ctx context.Context, wanted int32, asked time.Duration) {
	dir, err := os.Open(f.config.Netns)
	if err != nil {
		f.lackNames(err)
		return
	}
	defer dir.Close() //nolint:errcheck // only read
	names, err := dir.Readdirnames(maxNames)
	if len(names) == 0 {
		return // or an error that says so
	}
	f.lackNames(err)
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		if f.held.MatchString(name) && asked < nameGrace {
			continue
		}
		f.askName(name)
		if f.has(wanted) {
			return
		}
	}
}

func (f *Finder) askName(name string) {
	c := Container{Pool: PoolNetns, ID: show(name)}
	for range maxTries {
		epoch := f.currentEpoch()
		nsid, err := f.kernel.byFile(filepath.Join(f.config.Netns, name))
		if err != nil {
			f.fault(err)
			return
		}
		if nsid = f.foreign(nsid); nsid == none {
			return
		}
		if _, ok := f.note(nsid, c, fromName, epoch); ok {
			return
		}
	}
}

func (f *Finder) lackNames(err error) {
	if err == nil || errors.Is(err, unix.ENOENT) {
		f.lack(lackNetns, "")
		return
	}
	f.lack(lackNetns, err.Error())
}
