package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/hub"
)

// maxUnit is the most bytes that the name of a unit has here. systemd allows 255.
const maxUnit = 255

// Peer is who is behind a connection to the bus.
type Peer struct {
	Name   string // unique name, never used again while the bus lives
	UID    uint32
	Known  bool   // the bus said who it is: UID and Source are valid
	Source string // the source of its events: its systemd unit, or uid:N
	// Left is done when the connection has left the bus, or this Peer was forgotten.
	Left context.Context //nolint:containedctx // it is the life of the connection
}

// identify finds out who a peer is. The bus says which process connected, as which user;
// look says what that process is now.
func identify(peer *Peer, credentials func() (map[string]dbus.Variant, error), look func(pid uint32) *process) error {
	said, err := credentials()
	if err != nil {
		return err
	}
	uid, ok := said["UnixUserID"].Value().(uint32)
	if !ok {
		return errors.New("the bus does not say as which user")
	}
	peer.UID, peer.Known, peer.Source = uid, true, fmt.Sprintf("uid:%d", uid)
	pid, ok := said["ProcessID"].Value().(uint32)
	if !ok {
		return nil
	}
	// The number of a process may be given to another one. Mostly it was not if the
	// connection is still there after we looked; but that may have been handed on, by a
	// process that then ended in order to have its number used again. So nobody is
	// believed to be the unit of a process of another user.
	p := look(pid)
	if p == nil || p.unit == "" || !slices.Contains(p.uids, uid) {
		return nil
	}
	if _, err := credentials(); err == nil {
		peer.Source = unitText(p.unit)
	}
	return nil
}

// process is what the kernel says of a process.
type process struct {
	unit string   // systemd's, "" if none
	uids []uint32 // real, effective, saved, and of the file system
}

// look returns what a process is, nil if it is gone.
func look(pid uint32) *process {
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return nil
	}
	p := &process{unit: UnitOf(pid)}
	for line := range strings.Lines(string(status)) {
		uids, ok := strings.CutPrefix(line, "Uid:")
		if !ok {
			continue
		}
		for uid := range strings.FieldsSeq(uids) {
			if n, err := strconv.ParseUint(uid, 10, 32); err == nil {
				p.uids = append(p.uids, uint32(n))
			}
		}
	}
	return p
}

// UnitOf returns the systemd unit that a process belongs to, "" if none or if the
// process is gone.
func UnitOf(pid uint32) string {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/cgroup")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		// hierarchy:controllers:path; systemd's is 0:: or, before v2, name=systemd.
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(fields) != 3 || fields[1] != "name=systemd" && (fields[0] != "0" || fields[1] != "") {
			continue
		}
		if unit := unitOfCgroup(fields[2]); unit != "" {
			return unit
		}
	}
	return ""
}

// unitOfCgroup returns the unit of a cgroup path: the first component below the
// slices. What stands deeper may have been made by the unit itself, or by a systemd
// inside a container, and says nothing.
func unitOfCgroup(path string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if strings.HasSuffix(part, ".slice") {
			continue
		}
		for _, suffix := range []string{".service", ".scope"} {
			if strings.HasSuffix(part, suffix) && len(part) > len(suffix) {
				return part
			}
		}
		return ""
	}
	return ""
}

// unitText returns the name of a unit as text. systemd's own names, with their \xNN, stay
// as they are; what no systemd would make may be any bytes.
func unitText(unit string) string {
	for _, r := range unit {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return hub.PlainText([]byte(unit), maxUnit)
		}
	}
	return unit
}
