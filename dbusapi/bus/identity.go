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

const maxUnit = 255 // bytes of the name of a unit; the limit of systemd

// Peer is the owner of a connection to the bus.
type Peer struct {
	Name   string // unique name; the bus does not reuse it
	UID    uint32
	Known  bool   // the bus identified the peer; UID and Source are valid
	Source string // the source of its events: its systemd unit, or uid:N
	// Left is done when the connection has left the bus. If the cache of peers is full, it may not be.
	Left context.Context //nolint:containedctx // it is the life of the connection
}

// identify sets the identity of a peer. credentials asks the bus for the user and the process that
// connected, and inspect returns that process now.
func identify(peer *Peer, credentials func() (map[string]dbus.Variant, error), inspect func(pid uint32) *process) error {
	reply, err := credentials()
	if err != nil {
		return err
	}
	uid, ok := reply["UnixUserID"].Value().(uint32)
	if !ok {
		return errors.New("the bus does not know the user of the peer")
	}
	peer.UID, peer.Known, peer.Source = uid, true, fmt.Sprintf("uid:%d", uid)
	pid, ok := reply["ProcessID"].Value().(uint32)
	if !ok {
		return nil
	}
	// The kernel may have reused the pid. That is unlikely if the connection is still there after
	// the inspection. But a process can pass its connection on and exit on purpose, to have its
	// pid reused. So the unit counts only if its process has the same user.
	p := inspect(pid)
	if p == nil || p.unit == "" || !slices.Contains(p.uids, uid) {
		return nil
	}
	if _, err := credentials(); err == nil {
		peer.Source = unitText(p.unit)
	}
	return nil
}

// process is the identity of a process according to the kernel.
type process struct {
	unit string   // of systemd; "" if none
	uids []uint32 // real, effective, saved, and of the file system
}

// inspectProcess returns the identity of a process, nil if it has ended.
func inspectProcess(pid uint32) *process {
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

// UnitOf returns the systemd unit of a process, "" if it has none or has ended.
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
// slices. It ignores deeper components, which the unit itself, or a systemd in a
// container, may have created.
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

// unitText returns the name of a unit as text. Names of systemd, with its own \xNN, stay unchanged;
// other names may have any bytes, which are escaped.
func unitText(unit string) string {
	for _, r := range unit {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return hub.PlainText([]byte(unit), maxUnit)
		}
	}
	return unit
}
