package hub

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
	"time"
)

// Limits of the view of containers. When there is more, the containers whose state
// was reported longest ago leave.
const (
	MaxContainers     = 65536
	MaxStopped        = 1024     // of them that are stopped: some managers never say that one was removed
	maxContainerBytes = 24 << 20 // of all that is kept of them
	// containerOverhead is about what a container takes beside its texts, in bytes: the
	// row, and its places in the map and in the list.
	containerOverhead = 288
	nameOverhead      = 64 // the place of a name in its map
)

// LinkState is the state of a veth on the host.
type LinkState string

// The states of a veth.
const (
	LinkUp        LinkState = "up"         // administratively up, with carrier
	LinkNoCarrier LinkState = "no-carrier" // administratively up, the other end is not
	LinkDown      LinkState = "down"       // administratively down
)

// Interface is one veth on the host.
type Interface struct {
	Ifindex  uint32
	Veth     string // name on the host
	Name     string // name of the peer, inside the container; "" if not known
	Pool, ID string // the container; "" if not known
	State    LinkState
	// ContainerName and Image are those of the container, see [Container]. [Hub.Interfaces]
	// fills them in; a change of the view does not set them.
	ContainerName, Image string
	// Since is when State began, with microseconds; the zero Time if that is not known.
	// The maker of the row sets it.
	Since time.Time
	// BoundBy is the source of the report that bound the veth to pool, id and name; "" if
	// they were found, not reported.
	BoundBy string
	// Announced says that an up of it was announced. It lets a watcher go on after a
	// restart; lists do not show it.
	Announced bool
}

// InterfaceChange is one change of the view of interfaces.
type InterfaceChange struct {
	Interface Interface // the new row; of a removed one only Ifindex counts
	Removed   bool
}

// Container is the last reported state of a container.
type Container struct {
	Pool, ID string
	State    string    // "" if only its name was reported
	Source   string    // of the event that gave the state; "" if not known
	Time     time.Time // of the last change of the state
	// Name and Image are what the newest ct_info says; "" if there was none. Name is "", too,
	// once another container of the pool took it over.
	Name, Image string
}

// stateStopped is the state of a container that does not run.
const stateStopped = "stopped"

type containerKey struct{ pool, id string }

// views are the folds of all commits. They are guarded by the hub's lock.
type views struct {
	place      string // where the interfaces are, see Batch.Place
	interfaces map[uint32]Interface
	containers map[containerKey]*list.Element // values are *Container
	names      map[containerKey]*Container    // by pool and name
	byAge      *list.List                     // the one changed last in front
	bytes      int                            // of all containers, see Container.size
	active     int                            // containers whose state is known and not stopped
	stopped    int                            // containers that are
	revision   uint64                         // see Hub.InterfacesRevision
}

func newViews() views {
	return views{
		interfaces: map[uint32]Interface{}, containers: map[containerKey]*list.Element{}, byAge: list.New(),
		names: map[containerKey]*Container{},
		// Higher than that of any hub before, so that nobody takes its rows for ours.
		revision: uint64(time.Now().UnixMicro()),
	}
}

func (v *views) apply(batch *Batch) {
	if batch.Place != "" && batch.Place != v.place {
		v.place = strings.Clone(batch.Place)
	}
	for i := range batch.Interfaces {
		c := &batch.Interfaces[i]
		if c.Removed {
			v.dropInterface(c.Interface.Ifindex)
		} else {
			v.putInterface(c.Interface)
		}
	}
	for _, e := range batch.Events {
		key := containerKey{e.Pool, e.ID}
		switch {
		case e.Type == TypeState:
			v.putContainer(Container{Pool: e.Pool, ID: e.ID, State: e.Action, Source: e.Source, Time: e.Time})
		case e.Type == TypeInfo:
			v.putInfo(e)
		case e.removes():
			v.dropContainer(v.containers[key])
		}
	}
}

// putInterface puts a copy of a row that refers to nothing of what it came in.
func (v *views) putInterface(row Interface) {
	state := string(row.State)
	row.ContainerName, row.Image = "", ""
	keepTexts(&row.Veth, &row.Name, &row.Pool, &row.ID, &row.BoundBy, &state)
	row.State = LinkState(state)
	if old, ok := v.interfaces[row.Ifindex]; !ok || old.listed() != row.listed() {
		v.revision++
	}
	v.interfaces[row.Ifindex] = row
}

func (v *views) dropInterface(ifindex uint32) {
	if _, ok := v.interfaces[ifindex]; ok {
		v.revision++
		delete(v.interfaces, ifindex)
	}
}

// listed returns what lists show of a row, in a form that can be compared.
func (i Interface) listed() Interface {
	i.Since, i.BoundBy, i.Announced = i.Since.Round(0).UTC(), "", false
	return i
}

// putContainer puts a container's state, and makes it the one that changed last. The texts of row
// are copied. Its name and its image are left as they are, see setName.
func (v *views) putContainer(row Container) {
	if at := v.containers[containerKey{row.Pool, row.ID}]; at != nil {
		if known, ok := at.Value.(*Container); ok {
			v.account(known, -1)
			keepTexts(&row.State, &row.Source)
			known.State, known.Source, known.Time = row.State, row.Source, row.Time
			v.account(known, 1)
		}
		v.byAge.MoveToFront(at)
	} else {
		keepTexts(&row.Pool, &row.ID, &row.State, &row.Source)
		row.Name, row.Image = "", ""
		v.account(&row, 1)
		v.containers[containerKey{row.Pool, row.ID}] = v.byAge.PushFront(&row)
	}
	v.trim()
}

// trim drops what is over the limits.
func (v *views) trim() {
	for len(v.containers) > MaxContainers || v.bytes > maxContainerBytes {
		v.dropContainer(v.byAge.Back())
	}
	for v.stopped > MaxStopped {
		v.dropContainer(v.oldestStopped())
	}
}

// oldestStopped returns the container that stopped first: of those of unprivileged users (their pool ends
// in @UID) if there are any, because a user can start and stop any number, else of all.
func (v *views) oldestStopped() (oldest *list.Element) {
	for at := v.byAge.Back(); at != nil; at = at.Prev() {
		row, ok := at.Value.(*Container)
		if !ok || row.State != stateStopped {
			continue
		}
		if strings.Contains(row.Pool, "@") {
			return at
		}
		if oldest == nil {
			oldest = at
		}
	}
	return oldest
}

// newStates leaves out the events that say what is known already, see [Batch].NewStates.
func (v *views) newStates(events []*Event) []*Event {
	last := map[containerKey]string{}
	return slices.DeleteFunc(events, func(e *Event) bool {
		if e.Type != TypeState {
			return false
		}
		key := containerKey{e.Pool, e.ID}
		state, ok := last[key]
		if !ok {
			state = v.stateOf(key)
		}
		last[key] = e.Action
		return state == e.Action
	})
}

// stateOf returns the state of a container; one without a known state is stopped.
func (v *views) stateOf(key containerKey) string {
	if row := v.container(key); row != nil && row.State != "" {
		return row.State
	}
	return stateStopped
}

// account adds what a container counts for, times sign.
func (v *views) account(row *Container, sign int) {
	v.bytes += sign * row.size()
	switch row.State {
	case "":
	case stateStopped:
		v.stopped += sign
	default:
		v.active += sign
	}
}

// dropContainer removes a container, nil for none.
func (v *views) dropContainer(at *list.Element) {
	if at == nil {
		return
	}
	if row, ok := v.byAge.Remove(at).(*Container); ok {
		v.account(row, -1)
		delete(v.containers, containerKey{row.Pool, row.ID})
		if row.Name != "" || row.Image != "" {
			delete(v.names, containerKey{row.Pool, row.Name})
			v.revision++
		}
	}
}

// snapshot is the state of the views at one instant, or a part of it.
type snapshot struct {
	place      string
	interfaces []Interface
	containers []*Container // the one that changed last at the end
}

// parts returns a snapshot in parts that are small enough for a record each, at
// least one.
func (v *views) parts() []snapshot {
	parts := []snapshot{{place: v.place}}
	rows := 0
	part := func() *snapshot {
		if rows++; rows%snapshotPart == 0 {
			parts = append(parts, snapshot{place: v.place})
		}
		return &parts[len(parts)-1]
	}
	for _, row := range v.interfaces {
		p := part()
		p.interfaces = append(p.interfaces, row)
	}
	for at := v.byAge.Back(); at != nil; at = at.Prev() {
		if row, ok := at.Value.(*Container); ok {
			p := part()
			p.containers = append(p.containers, row)
		}
	}
	return parts
}

// restore replaces the views by a snapshot.
func (v *views) restore(parts []*snapshot) {
	*v = newViews()
	for _, p := range parts {
		v.place = p.place
		for _, row := range p.interfaces {
			v.putInterface(row)
		}
		for _, row := range p.containers {
			v.putContainer(*row)
			v.setName(containerKey{row.Pool, row.ID}, row.Name, row.Image)
		}
	}
}

// Place says where the interfaces of the view are, as the last [Batch] with a Place
// said it; "" if none did.
func (h *Hub) Place() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.views.place
}

// size returns about how many bytes of memory a container takes.
func (c *Container) size() int {
	size := containerOverhead + heapSize(len(c.Pool)+len(c.ID)+len(c.State)+len(c.Source))
	if c.Name != "" || c.Image != "" {
		size += nameOverhead + heapSize(len(c.Name)+len(c.Image))
	}
	return size
}

// Interfaces returns all veths on the host by ifindex, and the cursor that
// belongs to exactly this snapshot.
func (h *Hub) Interfaces() ([]Interface, string) {
	rows, cursor := h.copyInterfaces()
	slices.SortFunc(rows, func(a, b Interface) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
	return rows, cursor
}

// InterfacesRevision returns a number that grows with every change of what [Hub.Interfaces]
// returns, but for BoundBy and Announced. A later hub begins with a higher one.
func (h *Hub) InterfacesRevision() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.views.revision
}

// copyInterfaces takes the snapshot. It is sorted later, without the lock: that takes
// several times as long as copying.
func (h *Hub) copyInterfaces() ([]Interface, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rows := make([]Interface, 0, len(h.views.interfaces))
	for _, row := range h.views.interfaces {
		if c := h.views.container(containerKey{row.Pool, row.ID}); c != nil {
			row.ContainerName, row.Image = c.Name, c.Image
		}
		rows = append(rows, row)
	}
	return rows, FormatCursor(h.epoch, h.last())
}

// Containers returns the last reported state of all containers, ordered by pool
// and id, and the cursor that belongs to exactly this snapshot.
func (h *Hub) Containers() ([]Container, string) {
	rows, cursor := h.copyContainers()
	slices.SortFunc(rows, func(a, b Container) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.ID, b.ID))
	})
	return rows, cursor
}

// copyContainers is for Containers what copyInterfaces is for Interfaces.
func (h *Hub) copyContainers() ([]Container, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rows := make([]Container, 0, len(h.views.containers))
	for at := h.views.byAge.Front(); at != nil; at = at.Next() {
		if row, ok := at.Value.(*Container); ok {
			rows = append(rows, *row)
		}
	}
	return rows, FormatCursor(h.epoch, h.last())
}
