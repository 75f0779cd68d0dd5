package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeJournald stands in for journald. It takes an entry off its socket when the test calls next.
type fakeJournald struct {
	t    *testing.T
	sock *net.UnixConn
	path string
}

func newFakeJournald(t *testing.T) *fakeJournald {
	t.Helper()
	j := &fakeJournald{t: t, path: filepath.Join(t.TempDir(), "socket")}
	j.listen()
	return j
}

func (j *fakeJournald) listen() {
	j.t.Helper()
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: j.path, Net: "unixgram"})
	must(j.t, err)
	j.sock = sock
	j.t.Cleanup(func() { _ = sock.Close() })
}

// next reads an entry, from the datagram or from the file sent with it.
func (j *fakeJournald) next() map[string]string {
	j.t.Helper()
	must(j.t, j.sock.SetReadDeadline(time.Now().Add(patience)))
	b, oob := make([]byte, 1<<20), make([]byte, 64)
	n, nOOB, _, _, err := j.sock.ReadMsgUnix(b, oob)
	must(j.t, err)
	if b = b[:n]; nOOB > 0 {
		b = j.readFile(oob[:nOOB])
	}
	return j.parse(b)
}

// readFile reads a received file, which must be sealed.
func (j *fakeJournald) readFile(oob []byte) []byte {
	j.t.Helper()
	messages, err := unix.ParseSocketControlMessage(oob)
	must(j.t, err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(j.t, err)
	file := os.NewFile(uintptr(fds[0]), "entry")
	defer func() { _ = file.Close() }()
	seals, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL; err != nil || seals != want {
		j.t.Errorf("the file has the seals %#x, %v", seals, err)
	}
	b, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<30))
	must(j.t, err)
	return b
}

// parse decodes an entry of the native protocol.
func (j *fakeJournald) parse(b []byte) map[string]string {
	j.t.Helper()
	fields := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			j.t.Fatalf("no line break after %q", b)
		}
		if name, value, ok := strings.Cut(string(line), "="); ok {
			fields[name], b = value, rest
			continue
		}
		size := binary.LittleEndian.Uint64(rest)
		fields[string(line)] = string(rest[8 : 8+size])
		if b = rest[8+size:]; b[0] != '\n' {
			j.t.Fatalf("no line break after %s", line)
		}
		b = b[1:]
	}
	return fields
}
