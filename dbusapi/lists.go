package dbusapi

import (
	"slices"
	"time"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// listFilter reads the filter of a list, which may have only these keys.
func (c *call) listFilter(keys ...string) (hub.Filter, error) {
	d := c.Decoder()
	filter := d.Filter(keys...)
	return filter, checkArgs(d, nil)
}

// matches reports whether a value of a row is one of the wanted ones, if there are any.
func matches(wanted []string, value string) bool {
	return wanted == nil || slices.Contains(wanted, value)
}

// rowDetails collects the last field of a row, without unknown values.
type rowDetails struct{ hub.Options }

func (m *rowDetails) time(field string, at time.Time) {
	if !at.IsZero() {
		m.Options = append(m.Options, hub.Option{Name: field, Value: hub.Uint64(hub.Micros(at))})
	}
}

func (m *rowDetails) text(field, text string) {
	if text != "" {
		m.Options = append(m.Options, hub.Option{Name: field, Value: hub.String(text)})
	}
}

// container adds the name and the image of the row's container.
func (m *rowDetails) container(name, image string) {
	m.text("name", name)
	m.text("image", image)
}

// listInterfaces handles ListInterfaces.
func (c *call) listInterfaces() error {
	filter, err := c.listFilter("pool", "id", "name", "veth", hub.OptionName)
	if err != nil {
		return err
	}
	rows, cursor := c.service.Hub.Interfaces()
	pools, ids, names, veths := filter.Values("pool"), filter.Values("id"), filter.Values("name"), filter.Values("veth")
	containers := filter.Values(hub.OptionName)
	c.reply(func(e *wire.Encoder) {
		e.String(cursor)
		e.Array('(', func() {
			for i := range rows {
				row := &rows[i]
				if matches(pools, row.Pool) && matches(ids, row.ID) && matches(names, row.Name) && matches(veths, row.Veth) &&
					matches(containers, row.ContainerName) {
					var m rowDetails
					m.time("since", row.Since)
					m.container(row.ContainerName, row.Image)
					e.Align(8)
					e.Uint32(row.Ifindex)
					e.String(row.Veth)
					e.String(row.Name)
					e.String(row.Pool)
					e.String(row.ID)
					e.String(string(row.State))
					e.Options(m.Options)
				}
			}
		})
	})
	return nil
}

// listContainers handles ListContainers.
func (c *call) listContainers() error {
	filter, err := c.listFilter("pool", "id", hub.OptionName)
	if err != nil {
		return err
	}
	rows, cursor := c.service.Hub.Containers()
	pools, ids, names := filter.Values("pool"), filter.Values("id"), filter.Values(hub.OptionName)
	c.reply(func(e *wire.Encoder) {
		e.String(cursor)
		e.Array('(', func() {
			for i := range rows {
				row := &rows[i]
				if matches(pools, row.Pool) && matches(ids, row.ID) && matches(names, row.Name) {
					var m rowDetails
					m.text("source", row.Source)
					m.container(row.Name, row.Image)
					e.Align(8)
					e.String(row.Pool)
					e.String(row.ID)
					e.String(row.State)
					e.Uint64(hub.Micros(row.Time))
					e.Options(m.Options)
				}
			}
		})
	})
	return nil
}
