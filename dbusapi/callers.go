package dbusapi

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/osctl/eventd/dbusapi/wire"
)

const (
	// maxCallers is how many callers are remembered; the one not seen for longest
	// is forgotten first, and asked for again when it comes back.
	maxCallers = 1024

	// maxCredentials is the largest answer of the bus that is read, in bytes: 65,536
	// groups, which is all that the kernel lets a process have, take a quarter of it.
	maxCredentials = 1 << 20

	// callerTimeout bounds asking the bus who a caller is.
	callerTimeout = 5 * time.Second

	// sourceUnknown is the source of an event whose reporter had left the bus by
	// the time its call was read. The bus let it call; who it was, it no longer says.
	sourceUnknown = "unknown"
)

// caller is who makes calls through one connection to the bus.
type caller struct {
	name   string // unique name, never used again while the bus lives
	uid    uint32
	known  bool   // uid is valid
	source string // the event's source: the systemd unit, or uid:N
}

// callers finds out who calls, and remembers it. It asks over a connection of its own:
// the reply to a question asked on the service's connection would stand behind all the
// calls that wait there.
type callers struct {
	conn *conn

	mu    sync.Mutex
	known map[string]*list.Element // values are *caller
	byUse *list.List               // the last used in front
}

func dialCallers(ctx context.Context, address string) (*callers, error) {
	c, err := dialConn(ctx, address, connConfig{maxBody: maxCredentials, handle: refuse})
	if err != nil {
		return nil, err
	}
	return &callers{conn: c, known: map[string]*list.Element{}, byUse: list.New()}, nil
}

// refuse answers calls to a connection that serves nothing.
func refuse(c *conn, m *message) {
	if m.Type == wire.TypeCall && m.Flags&wire.FlagNoReply == 0 {
		_ = c.send(errorReply(m, errorf(errUnknownObject, "nothing is served here, call %s", Name)))
	}
}

// get returns who has that unique name. Only one goroutine at a time may ask for the
// same name.
func (k *callers) get(ctx context.Context, name string) (*caller, error) {
	if who := k.recall(name); who != nil {
		return who, nil
	}
	who, err := k.ask(ctx, name)
	if err != nil {
		return nil, err
	}
	k.remember(who)
	return who, nil
}

// recall returns who is known to have that name, nil if that is not known.
func (k *callers) recall(name string) *caller {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.known[name]
	if !ok {
		return nil
	}
	k.byUse.MoveToFront(at)
	who, _ := at.Value.(*caller)
	return who
}

func (k *callers) remember(who *caller) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byUse.Len() >= maxCallers {
		if old, ok := k.byUse.Remove(k.byUse.Back()).(*caller); ok {
			delete(k.known, old.name)
		}
	}
	k.known[who.name] = k.byUse.PushFront(who)
}

func (k *callers) ask(ctx context.Context, name string) (*caller, error) {
	ctx, cancel := context.WithTimeout(ctx, callerTimeout)
	defer cancel()
	who, err := identify(name, func() (map[string]dbus.Variant, error) { return k.credentials(ctx, name) }, look)
	if err != nil {
		var gone dbus.Error
		if errors.As(err, &gone) && gone.Name == errNameHasNoOwner {
			return &caller{name: name, source: sourceUnknown}, nil
		}
		return nil, errorf(errTimeout, "the bus did not say who is calling: %v", err)
	}
	return who, nil
}

// identify finds out who has a name. The bus says which process connected, as which user;
// look says what that process is now.
func identify(name string, credentials func() (map[string]dbus.Variant, error), look func(pid uint32) *process) (*caller, error) {
	said, err := credentials()
	if err != nil {
		return nil, err
	}
	who := &caller{name: name, source: sourceUnknown}
	who.uid, who.known = said["UnixUserID"].Value().(uint32)
	if who.known {
		who.source = fmt.Sprintf("uid:%d", who.uid)
	}
	pid, ok := said["ProcessID"].Value().(uint32)
	if !ok || !who.known {
		return who, nil
	}
	// The number of a process may be given to another one. Mostly it was not if the
	// connection is still there after we looked; but that may have been handed on, by a
	// process that then ended in order to have its number used again. So nobody is
	// believed to be the unit of a process of another user.
	p := look(pid)
	if p == nil || p.unit == "" || !slices.Contains(p.uids, who.uid) {
		return who, nil
	}
	if _, err := credentials(); err == nil {
		who.source = p.unit
	}
	return who, nil
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
	p := &process{unit: unitOf(pid)}
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

func (k *callers) credentials(ctx context.Context, name string) (map[string]dbus.Variant, error) {
	var credentials map[string]dbus.Variant
	err := k.conn.bus.BusObject().CallWithContext(ctx, busInterface+".GetConnectionCredentials", 0, name).Store(&credentials)
	return credentials, err
}

// unitOf returns the systemd unit that a process belongs to, "" if none or if the
// process is gone.
func unitOf(pid uint32) string {
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
