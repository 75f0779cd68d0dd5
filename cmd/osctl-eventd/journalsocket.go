package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// journalSocket is where journald takes entries, see
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
const journalSocket = "/run/systemd/journal/socket"

// journalField is one field of an entry. The name is of capital letters, digits and
// underscores; the value may be any bytes.
type journalField struct{ name, value string }

// journalConn sends entries to journald. It is not go-systemd's journal.Send, as that
// cannot be interrupted: a journald that hangs would keep us from stopping.
type journalConn struct {
	sock      *net.UnixConn
	path      string
	connected bool
	buf       []byte
}

// openJournal makes the socket. Whether journald is there shows when something is sent.
func openJournal(path string) (*journalConn, error) {
	// Not net.DialUnix: it wants journald to be there, and its result cannot be connected anew.
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("socket for the journal: %w", err)
	}
	return &journalConn{sock: sock, path: path}, nil
}

// connect connects the socket. A datagram could be sent without, but the kernel calls a
// socket that is not connected writable also while journald's queue is full: to wait
// for room would be to try without a pause.
func (c *journalConn) connect() error {
	raw, err := c.sock.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Connect(int(fd), &unix.SockaddrUnix{Name: c.path}) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("connect to %s: %w", c.path, err)
	}
	c.connected = true
	return nil
}

// write sends a datagram, over a new connection if the other end of the last is gone.
func (c *journalConn) write(b, oob []byte) error {
	for {
		fresh := !c.connected
		if fresh {
			if err := c.connect(); err != nil {
				return err
			}
		}
		_, _, err := c.sock.WriteMsgUnix(b, oob, nil)
		if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOTCONN) {
			return err
		}
		c.connected = false
		if fresh {
			return err
		}
	}
}

func (c *journalConn) close() { _ = c.sock.Close() }

// until lets sends wait for a journald that takes nothing; they end when grace has
// passed since ctx was done. The function that it returns ends that.
func (c *journalConn) until(ctx context.Context, grace time.Duration) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.sock.SetWriteDeadline(time.Now().Add(grace)) })
}

// send sends one entry. It waits while journald's queue is full.
func (c *journalConn) send(fields []journalField) error {
	c.buf = c.buf[:0]
	for _, f := range fields {
		c.buf = appendJournalField(c.buf, f)
	}
	err := c.write(c.buf, nil)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		return c.sendFile()
	}
	return err
}

// sendFile sends what does not fit into a datagram, as a file in memory that nobody can
// change any more.
func (c *journalConn) sendFile() error {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("memfd for the journal: %w", err)
	}
	file := os.NewFile(uintptr(fd), "journal-entry")
	defer func() { _ = file.Close() }()
	if _, err := file.Write(c.buf); err != nil {
		return fmt.Errorf("memfd for the journal: %w", err)
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal a memfd for the journal: %w", err)
	}
	return c.write(nil, unix.UnixRights(fd))
}

// appendJournalField appends a field in the form that its value allows: with a line
// break in it, its size stands before it.
func appendJournalField(b []byte, f journalField) []byte {
	b = append(b, f.name...)
	if !strings.Contains(f.value, "\n") {
		b = append(b, '=')
		b = append(b, f.value...)
		return append(b, '\n')
	}
	b = append(b, '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(f.value)))
	b = append(b, f.value...)
	return append(b, '\n')
}
