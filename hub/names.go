package hub

import "strings"

// OptionName is the option with the container's name in state and ct_netif events. The hub adds it
// when it numbers an event, if the container has a name and the reporter did not set the option.
// The hub does not add it if the event would exceed a limit.
const OptionName = "ct_name"

// Limits of the name and the image in a ct_info event, in bytes.
const (
	MaxNameBytes  = 512
	MaxImageBytes = 4096
)

// addName adds a container's name to an event of the types state and ct_netif.
func (e *Event) addName(name string) {
	if _, set := e.Options.Get(OptionName); set || name == "" || len(e.Options) >= MaxOptions {
		return
	}
	name = strings.Clone(name) // not to keep the other texts of the view's row in memory
	named := append(make(Options, 0, len(e.Options)+1), e.Options...)
	named = append(named, Option{Name: OptionName, Value: String(name)})
	f := measure(e.Type, e.Source, "", named)
	if f.encoded+len(e.Action)+len(e.Pool)+len(e.ID)+encodedOverhead > MaxEncoded {
		return
	}
	e.Options, e.keys[keyCtName] = named, name
	e.setSize(&f)
}

// removesContainer reports whether an event removes a container.
func (e *Event) removesContainer() bool {
	return e.Type == TypeDB && e.Action == "remove" && e.Options.Text("object") == "container"
}

// namer adds names to the events of one batch. It takes the changes of the batch itself into account.
type namer struct {
	views  *views
	names  map[containerKey]string       // names that the batch changed; "" if removed
	owners map[containerKey]containerKey // containers by pool and name
}

func (n *namer) nameEvents(events []*Event) {
	for _, e := range events {
		key := containerKey{e.Pool, e.ID}
		switch {
		case e.Type == TypeInfo:
			n.setName(key, e.Options.Text("name"))
		case e.removesContainer():
			n.setName(key, "")
		case e.Type == TypeState, e.Type == TypeNetif:
			name, changed := n.names[key]
			if row := n.views.container(key); row != nil && !changed {
				name = row.Name
			}
			e.addName(name)
		}
	}
}

// setName records the name of a container, and takes it from another container of the pool.
func (n *namer) setName(key containerKey, name string) {
	if n.names == nil {
		n.names, n.owners = map[containerKey]string{}, map[containerKey]containerKey{}
	}
	owned := containerKey{key.pool, name}
	if owner, ok := n.owners[owned]; ok && n.names[owner] == name {
		n.names[owner] = ""
	}
	if row := n.views.names[owned]; row != nil {
		owner := containerKey{row.Pool, row.ID}
		if _, changed := n.names[owner]; !changed {
			n.names[owner] = ""
		}
	}
	n.names[key], n.owners[owned] = name, key
}

// putInfo sets the name and the image of a container. A container without a known state gets a row
// with an empty state.
func (v *views) putInfo(e *Event) {
	key := containerKey{e.Pool, e.ID}
	if v.container(key) == nil {
		v.putContainer(Container{Pool: e.Pool, ID: e.ID, Time: e.Time})
	}
	v.setName(key, e.Options.Text("name"), e.Options.Text("image"))
}

// setName sets the name and the image of a container that has a row, and takes the name from
// another container of the pool. Rows of interfaces show both, so their revision grows.
func (v *views) setName(key containerKey, name, image string) {
	row := v.container(key)
	if row == nil || row.Name == name && row.Image == image {
		return
	}
	if other := v.names[containerKey{key.pool, name}]; other != nil && other != row {
		v.setName(containerKey{other.Pool, other.ID}, "", other.Image)
	}
	v.account(row, -1)
	delete(v.names, containerKey{key.pool, row.Name})
	cloneTexts(&name, &image)
	row.Name, row.Image = name, image
	if name != "" {
		v.names[containerKey{row.Pool, name}] = row
	}
	v.account(row, 1)
	v.revision++
	v.trim()
}
