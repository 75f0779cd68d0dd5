package dbusapi

import (
	"slices"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// listFilter reads the filter of a list, which may only name keys that its rows have.
func (c *call) listFilter(keys ...string) (hub.Filter, error) {
	d := c.Decoder()
	filter := d.Filter(keys...)
	return filter, args(d, nil)
}

// passes reports whether a row's value is one of those that a filter asks for.
func passes(wanted []string, value string) bool {
	return wanted == nil || slices.Contains(wanted, value)
}

// since returns the field of that name, nothing if the time is not known.
func since(at time.Time) hub.Options {
	if at.IsZero() {
		return nil
	}
	return hub.Options{{Name: "since", Value: hub.Uint64(hub.Micros(at))}}
}

// source returns the field of that name, nothing if it is not known.
func source(name string) hub.Options {
	if name == "" {
		return nil
	}
	return hub.Options{{Name: "source", Value: hub.String(name)}}
}

// listInterfaces handles ListInterfaces.
func (c *call) listInterfaces() error {
	filter, err := c.listFilter("pool", "id", "name", "veth")
	if err != nil {
		return err
	}
	rows, cursor := c.service.Hub.Interfaces()
	pools, ids, names, veths := filter.Values("pool"), filter.Values("id"), filter.Values("name"), filter.Values("veth")
	c.reply(func(e *wire.Encoder) {
		e.String(cursor)
		e.Array('(', func() {
			for i := range rows {
				row := &rows[i]
				if passes(pools, row.Pool) && passes(ids, row.ID) && passes(names, row.Name) && passes(veths, row.Veth) {
					e.Align(8)
					e.Uint32(row.Ifindex)
					e.String(row.Veth)
					e.String(row.Name)
					e.String(row.Pool)
					e.String(row.ID)
					e.String(string(row.State))
					e.Options(since(row.Since))
				}
			}
		})
	})
	return nil
}

// listContainers handles ListContainers.
func (c *call) listContainers() error {
	filter, err := c.listFilter("pool", "id")
	if err != nil {
		return err
	}
	rows, cursor := c.service.Hub.Containers()
	pools, ids := filter.Values("pool"), filter.Values("id")
	c.reply(func(e *wire.Encoder) {
		e.String(cursor)
		e.Array('(', func() {
			for i := range rows {
				row := &rows[i]
				if passes(pools, row.Pool) && passes(ids, row.ID) {
					e.Align(8)
					e.String(row.Pool)
					e.String(row.ID)
					e.String(row.State)
					e.Uint64(hub.Micros(row.Time))
					e.Options(source(row.Source))
				}
			}
		})
	})
	return nil
}
