package dbusapi

import (
	"maps"
	"slices"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

const propertiesInterface = "org.freedesktop.DBus.Properties"

// properties returns the properties of the service, in the order of the interface. They are not a
// snapshot: a concurrent commit may show in some of them only.
func (s *Service) properties() hub.Options {
	status := s.Hub.Status()
	counters := s.Hub.Counters()
	var missing []string
	if s.Missing != nil {
		missing = s.Missing()
	}
	var items []hub.Value
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		items = append(items, hub.String(name), hub.Uint64(counters[name]))
	}
	return hub.Options{
		{Name: "Version", Value: hub.String(s.Version)},
		{Name: "StartTime", Value: hub.Uint64(hub.Micros(s.started))},
		{Name: "Epoch", Value: hub.String(status.Epoch)},
		{Name: "LastSequence", Value: hub.Uint64(status.Last)},
		{Name: "OldestSequence", Value: hub.Uint64(status.Oldest)},
		{Name: "Cursor", Value: hub.String(status.Cursor())},
		{Name: "InterfaceCount", Value: hub.Uint32(uint32(status.Interfaces))}, //nolint:gosec // the kernel numbers them with 31 bits
		{Name: "InterfacesRevision", Value: hub.Uint64(s.Hub.InterfacesRevision())},
		{Name: "ContainerCount", Value: hub.Uint32(uint32(status.Active))}, //nolint:gosec // at most hub.MaxContainers
		{Name: "Durable", Value: hub.Bool(status.Durable)},
		{Name: "LogProblem", Value: hub.String(status.LogProblem)},
		{Name: "Missing", Value: hub.Strings(missing...)},
		{Name: "Counters", Value: hub.Dict("s", "t", items)},
	}
}

// propertyInterface checks the interface argument of the property methods, which may be empty.
func propertyInterface(name string) error {
	if name == wire.Interface || name == "" {
		return nil
	}
	return wire.Errorf(wire.ErrUnknownInterface, "there are no properties of interface %.80q, only of %s", name, wire.Interface)
}

// property returns one property.
func (s *Service) property(iface, name string) (hub.Value, error) {
	if err := propertyInterface(iface); err != nil {
		return hub.Value{}, err
	}
	value, ok := s.properties().Get(name)
	if !ok {
		return value, wire.Errorf(wire.ErrUnknownProperty, "there is no property %.80q", name)
	}
	return value, nil
}

// getProperty handles Properties.Get.
func (c *call) getProperty() error {
	d := c.Decoder()
	iface, name := d.String(), d.String()
	if err := checkArgs(d, nil); err != nil {
		return err
	}
	value, err := c.service.property(iface, name)
	if err != nil {
		return err
	}
	c.reply(func(e *wire.Encoder) { e.Variant(value) })
	return nil
}

// getAllProperties handles Properties.GetAll.
func (c *call) getAllProperties() error {
	d := c.Decoder()
	iface := d.String()
	if err := checkArgs(d, nil); err != nil {
		return err
	}
	var all hub.Options
	// GetAll of the standard interfaces succeeds, although they have no properties.
	if _, ok := c.service.methods[iface]; !ok || iface == wire.Interface {
		if err := propertyInterface(iface); err != nil {
			return err
		}
		all = c.service.properties()
	}
	c.reply(func(e *wire.Encoder) { e.Options(all) })
	return nil
}

// setProperty handles Properties.Set. All properties are read-only.
func (c *call) setProperty() error {
	d := c.Decoder()
	iface, name := d.String(), d.String()
	if err := d.Err(); err != nil {
		return checkArgs(d, err)
	}
	if _, err := c.service.property(iface, name); err != nil {
		return err
	}
	return wire.Errorf(wire.ErrReadOnly, "the property %s can only be read", name)
}
