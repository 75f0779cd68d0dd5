package dbusapi

import (
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/packaging"
)

// standardInterfaces are the interfaces that the service adds to the installed document, as sd-bus and
// GDBus do. They are not in the file, because generators would make classes of them. Run-time proxies
// need them: otherwise Node's dbus-next, Perl's Net::DBus and qdbus refuse to read a property.
const standardInterfaces = `
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml_data" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
</node>
`

// document returns the introspection document of the service. It has no comments, because they are most
// of the file, and every user may call Introspect.
var document = sync.OnceValue(func() string { //nolint:gochecknoglobals // made once
	ours, _, _ := strings.Cut(packaging.Interface, "</node>")
	ours = regexp.MustCompile(`(?s)\s*<!--.*?-->`).ReplaceAllString(ours, "")
	return strings.TrimRight(ours, "\n") + "\n" + standardInterfaces
})

// introspect handles Introspect, for the object and its parent nodes.
func (c *call) introspect() error {
	xml := document()
	if c.Path != wire.Path {
		below, ok := strings.CutPrefix(wire.Path, strings.TrimSuffix(c.Path, "/")+"/")
		if !ok {
			return wire.Errorf(wire.ErrUnknownObject, "there is no object %.80q, the service is at %s", c.Path, wire.Path)
		}
		child, _, _ := strings.Cut(below, "/")
		xml = `<node><node name="` + child + `"/></node>`
	}
	c.reply(func(e *wire.Encoder) { e.String(xml) })
	return nil
}

// ping handles Peer.Ping.
func (c *call) ping() error {
	c.reply(nil)
	return nil
}

// machineID handles Peer.GetMachineId.
func (c *call) machineID() error {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		id, err = os.ReadFile("/var/lib/dbus/machine-id")
	}
	if err != nil {
		return wire.Errorf(wire.ErrFailed, "this machine has no machine id")
	}
	c.reply(func(e *wire.Encoder) { e.String(strings.TrimSpace(string(id))) })
	return nil
}
