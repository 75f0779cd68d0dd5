package hub

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
	"time"
)

// Limits of the view of containers. Beyond them the hub drops the containers whose state was
// reported longest ago.
const (
	MaxContainers     = 65536
	MaxStopped        = 1024     // stopped ones among them: some managers never report a removal
	maxContainerBytes = 24 << 20 // memory of all rows
	// containerOverhead is about the size of a row without its texts, in bytes, with its entries
	// in the map and in the list.
	containerOverhead = 288
	nameOverhead      = 64 // the entry of a name in its map
)

// Container is the last reported state of a container.
type Container struct {
	Pool, ID string
	State    string    // "" if only its name was reported
	Source   string    // of the event that gave the state; "" if not known
	Time     time.Time // of the last change of the state
	// Name and Image are those of the newest ct_info; "" if there was none. Name is "", too, once
	// another container of the pool got that name.
	Name, Image string
}

// stateStopped is the state of a container that does not run.
const stateStopped = "stopped"

// container returns the row of a container, nil if there is none.
func (v *views) container(key containerKey) *Container {
	if at := v.containers[key]; at != nil {
		row, _ := at.Value.(*Container)
		return row
	}
	return nil
}

// putContainer sets a container's state, and makes it the most recently reported one. It clones the
// texts of row and ignores its name and image, see setName.
func (v *views) putContainer(row Container) {
	if at := v.containers[containerKey{row.Pool, row.ID}]; at != nil {
		if known, ok := at.Value.(*Container); ok {
			v.account(known, -1)
			cloneTexts(&row.State, &row.Source)
			if known.State != row.State {
				known.Time = row.Time
			}
			known.State, known.Source = row.State, row.Source
			v.account(known, 1)
		}
		v.byAge.MoveToFront(at)
	} else {
		cloneTexts(&row.Pool, &row.ID, &row.State, &row.Source)
		row.Name, row.Image = "", ""
		v.account(&row, 1)
		v.containers[containerKey{row.Pool, row.ID}] = v.byAge.PushFront(&row)
	}
	v.trim()
}

// trim drops containers beyond the limits.
func (v *views) trim() {
	for len(v.containers) > MaxContainers || v.bytes > maxContainerBytes {
		v.dropContainer(v.byAge.Back())
	}
	for v.stopped > MaxStopped {
		v.dropContainer(v.oldestStopped())
	}
}

// oldestStopped returns the container that stopped first. It prefers containers of unprivileged
// users, whose pool ends in @UID, because a user can start and stop any number.
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

// newStates leaves out the events whose state is known already, see [Batch].NewStates.
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

// account adds a container to the totals, or removes it if sign is -1.
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

// size returns about how many bytes of memory a container takes.
func (c *Container) size() int {
	size := containerOverhead + heapSize(len(c.Pool)+len(c.ID)+len(c.State)+len(c.Source))
	if c.Name != "" || c.Image != "" {
		size += nameOverhead + heapSize(len(c.Name)+len(c.Image))
	}
	return size
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

// copyContainers returns an unsorted snapshot, see copyInterfaces.
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
