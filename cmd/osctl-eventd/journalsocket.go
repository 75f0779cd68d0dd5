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

// journalSocket is the path at which journald accepts entries, see
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
const journalSocket = "/run/systemd/journal/socket"

// journalField is one field of an entry. The name consists of capital letters, digits and
// underscores; the value may be any bytes.
type journalField struct{ name, value string }

// journalConn sends entries to journald. It replaces go-systemd's journal.Send, which cannot be
// interrupted: a journald that hangs would block our stop.
type journalConn struct {
	sock      *net.UnixConn
	path      string
	connected bool
	buf       []byte
}

// openJournal creates the socket. It does not need journald to be running yet.
func openJournal(path string) (*journalConn, error) {
	// net.DialUnix would need a running journald, and its socket cannot be reconnected.
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("socket for the journal: %w", err)
	}
	return &journalConn{sock: sock, path: path}, nil
}

// connect connects the socket. Sending needs no connection, but waiting does: the kernel
// reports an unconnected socket as writable even while journald's queue is full, so that a
// sender would retry in a busy loop.
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

// write sends a datagram. It reconnects once if journald was restarted.
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

// limitSends makes sends fail once grace has passed after ctx is done. Calling stop lifts the limit.
func (c *journalConn) limitSends(ctx context.Context, grace time.Duration) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.sock.SetWriteDeadline(time.Now().Add(grace)) })
}

// send sends one entry. It blocks while journald's queue is full.
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

// sendFile sends an entry that exceeds a datagram, as a sealed memfd.
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

// appendJournalField appends a field in the native protocol: NAME=VALUE, or with the size before
// a value that contains a line break.
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
