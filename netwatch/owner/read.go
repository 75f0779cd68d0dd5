package owner

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// reader reads what proc and cgroups say. It is for one goroutine.
type reader struct {
	proc   string
	kernel kernel
	fault  func(error) // is told of errors that nobody else hears of

	pidBuf      []int
	procs       int    // cgroup.procs of
	procsOf     string // this cgroup; "" if it is not open
	procsListed bool   // to read it again tells what was when it was opened
	dents       [32 << 10]byte
	file        [4 << 10]byte
}

// release closes what was kept for the next question about the same container.
func (r *reader) release() {
	r.kernel.release()
	r.closeProcs()
}

// readDir calls fn for each directory in one, until it returns false. It begins with what the
// directory is, and its descriptor.
func (r *reader) readDir(dir place, begin func(fd int, stat *unix.Stat_t), fn func(name []byte, ino uint64) bool) error {
	fd, err := dir.open(unix.O_DIRECTORY)
	if err != nil {
		return &pathError{"open", dir.path, err}
	}
	defer closeFD(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return &pathError{"stat", dir.path, err}
	}
	begin(fd, &stat)
	if stat.Nlink == 2 {
		return nil // where links are counted, two are those of an empty one
	}
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, r.dents[:]) })
		if err != nil {
			return &pathError{"list", dir.path, err}
		}
		// The kernel fills the buffer as far as it can: if there is room left, this was all.
		if n == 0 || !directories(r.dents[:n], fn) || n < len(r.dents)-2*unix.NAME_MAX {
			return nil
		}
	}
}

// directories calls fn for each directory among struct linux_dirent64: ino 8, off 8,
// reclen 2, type 1, a name that a NUL ends. It returns false if fn did.
func directories(b []byte, fn func(name []byte, ino uint64) bool) bool {
	const fixed = 19
	for len(b) > fixed {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= fixed || size > len(b) {
			break
		}
		name, _, _ := bytes.Cut(b[fixed:size], []byte{0})
		dots := string(name) == "." || string(name) == ".."
		if b[18] == unix.DT_DIR && !dots && !fn(name, binary.NativeEndian.Uint64(b)) {
			return false
		}
		b = b[size:]
	}
	return true
}

// readFile returns the beginning of a file, good until the next call.
func (r *reader) readFile(path string) ([]byte, error) {
	fd, err := place{path: path}.open(0)
	if err != nil {
		return nil, &pathError{"open", path, err}
	}
	defer closeFD(fd)
	n, err := retry(func() (int, error) { return unix.Read(fd, r.file[:]) })
	if err != nil {
		return nil, &pathError{"read", path, err}
	}
	return r.file[:n], nil
}

// pathError is an error of a system call with a path.
type pathError struct {
	op, path string
	err      error
}

func (e *pathError) Error() string { return e.op + " " + e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// closeFD closes a file that was read; that cannot fail in a way that matters.
func closeFD(fd int) { _ = unix.Close(fd) }

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
