package hub

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
	"time"
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
	// ContainerName and Image are those of the container, see [Container]. Only
	// [Hub.Interfaces] sets them.
	ContainerName, Image string
	// Since is when State began, with microseconds; the zero Time if that is not known.
	Since time.Time
	// BoundBy is the source of the report that bound the veth to pool, id and name; "" if
	// they were detected.
	BoundBy string
	// BoundPeer is the ifindex of the peer of a bound veth, in the namespace of the peer; 0 if that is
	// not known. By it a watcher recognises the veth after a restart; lists do not show it.
	BoundPeer uint32
	// Kept says that the container moved the peer to a namespace without a known owner, or left it in one.
	// Lists do not show it.
	Kept bool
	// Announced says that an up of the interface was announced. A watcher needs it after a
	// restart; lists do not show it.
	Announced bool
}

// InterfaceChange is one change of the view of interfaces.
type InterfaceChange struct {
	Interface Interface // the new row; if Removed, only Ifindex counts
	Removed   bool
}

type containerKey struct{ pool, id string }

// views are the current interfaces and containers. They are guarded by the hub's lock.
type views struct {
	place      string // see Batch.Place
	interfaces map[uint32]Interface
	containers map[containerKey]*list.Element // values are *Container
	names      map[containerKey]*Container    // by pool and name
	byAge      *list.List                     // the most recently reported container in front
	bytes      int                            // of all containers, see Container.size
	active     int                            // containers whose state is known and not stopped
	stopped    int                            // stopped containers
	revision   uint64                         // see Hub.InterfacesRevision
}

func newViews() views {
	return views{
		interfaces: map[uint32]Interface{}, containers: map[containerKey]*list.Element{}, byAge: list.New(),
		names: map[containerKey]*Container{},
		// Higher than that of any earlier hub, so that a client notices the restart.
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
		case e.removesContainer():
			v.dropContainer(v.containers[key])
		}
	}
}

// putInterface puts a copy of a row, with texts of its own.
func (v *views) putInterface(row Interface) {
	state := string(row.State)
	row.ContainerName, row.Image = "", ""
	cloneTexts(&row.Veth, &row.Name, &row.Pool, &row.ID, &row.BoundBy, &state)
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

// listed returns the fields of a row that lists show, in a comparable form.
func (i Interface) listed() Interface {
	i.Since, i.BoundBy, i.BoundPeer, i.Kept, i.Announced = i.Since.Round(0).UTC(), "", 0, false, false
	return i
}

// snapshot is the state of the views at one instant, or a part of it.
type snapshot struct {
	place      string
	interfaces []Interface
	containers []*Container // the most recently reported one at the end
}

// parts returns a snapshot in parts that each fit into a record. There is at least one.
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

// restore replaces the views with a snapshot.
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

// Place returns the Place of the last [Batch] that had one; "" if none did.
func (h *Hub) Place() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.views.place
}

// Interfaces returns all veths on the host by ifindex, and the cursor that
// belongs to exactly this snapshot.
func (h *Hub) Interfaces() ([]Interface, string) {
	rows, cursor := h.copyInterfaces()
	slices.SortFunc(rows, func(a, b Interface) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
	return rows, cursor
}

// InterfacesRevision returns a number that grows with every change of the result of
// [Hub.Interfaces], except of BoundBy, BoundPeer, Kept and Announced. It also grows with a restart.
func (h *Hub) InterfacesRevision() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.views.revision
}

// copyInterfaces returns an unsorted snapshot. The caller sorts it without the lock, because sorting
// takes several times as long as copying.
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
