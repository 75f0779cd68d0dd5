package dbusapi

import (
	"errors"

	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// handler handles the calls of one session.
type handler struct {
	service *Service
	waits   *waits
}

// call is a method call.
type call struct {
	*bus.Call
	service *Service
	waits   *waits
	out     string // signature of the reply
}

// Handle implements [bus.Handler].
func (h *handler) Handle(m *bus.Call) {
	c := &call{Call: m, service: h.service, waits: h.waits}
	found, err := h.service.findMethod(m.Message)
	switch {
	case err == nil:
		c.out = found.out
		err = found.handle(c)
	case isReport(m.Message):
		err = h.service.reportRefused(err)
	}
	if err != nil {
		c.fail(err)
	}
}

// Refuse implements [bus.Handler].
func (h *handler) Refuse(m *wire.Message, err error) *wire.Error {
	var large *hub.TooLargeError
	if isReport(m) && errors.As(err, &large) {
		err = h.service.reportRefused(err)
	}
	return toError(err)
}

// reply sends the reply of the method; body appends its arguments.
func (c *call) reply(body func(e *wire.Encoder)) { c.Reply(c.out, body) }

// fail sends an error reply.
func (c *call) fail(err error) { c.Fail(toError(err)) }

// method is a method of an interface.
type method struct {
	in, out string // signatures
	handle  func(*call) error
}

// methods returns the methods of the service, by interface and member.
func methods() map[string]map[string]method {
	return map[string]map[string]method{
		wire.Interface: {
			"Report":         {"sa{sv}", "t", (*call).report},
			"ReportBatch":    {"a(sa{sv})", "at", (*call).reportBatch},
			"WaitEvents":     {"sa{sv}uu", "sa(" + wire.EventType + ")", (*call).waitEvents},
			"ListInterfaces": {"a{sv}", "sa" + wire.InterfaceType, (*call).listInterfaces},
			"ListContainers": {"a{sv}", "sa" + wire.ContainerType, (*call).listContainers},
		},
		propertiesInterface: {
			"Get":    {"ss", "v", (*call).getProperty},
			"GetAll": {"s", "a{sv}", (*call).getAllProperties},
			"Set":    {"ssv", "", (*call).setProperty},
		},
		"org.freedesktop.DBus.Introspectable": {"Introspect": {"", "s", (*call).introspect}},
		"org.freedesktop.DBus.Peer": {
			"Ping":         {"", "", (*call).ping},
			"GetMachineId": {"", "s", (*call).machineID},
		},
	}
}

// findMethod returns the called method. A call need not have an interface.
func (s *Service) findMethod(m *wire.Message) (method, error) {
	iface := m.Interface
	if iface == "" {
		for name, members := range s.methods {
			if _, has := members[m.Member]; has {
				iface = name
			}
		}
	}
	members, ok := s.methods[iface]
	found, has := members[m.Member]
	switch {
	case !ok && m.Interface != "":
		return method{}, wire.Errorf(wire.ErrUnknownInterface, "there is no interface %.80q here", m.Interface)
	case !has:
		return method{}, wire.Errorf(wire.ErrUnknownMethod, "there is no method %.80q of interface %.80q", m.Member, m.Interface)
	case m.Path != wire.Path && iface != "org.freedesktop.DBus.Introspectable" && iface != "org.freedesktop.DBus.Peer":
		return method{}, wire.Errorf(wire.ErrUnknownObject, "there is no object %.80q, the service is at %s", m.Path, wire.Path)
	case m.Signature != found.in:
		return method{}, wire.Errorf(wire.ErrInvalidArgs, "%s takes arguments of type %q, got %.80q", m.Member, found.in, m.Signature)
	}
	return found, nil
}

// isReport reports whether a call is one of Report or ReportBatch.
func isReport(m *wire.Message) bool {
	return (m.Interface == wire.Interface || m.Interface == "") && (m.Member == "Report" || m.Member == "ReportBatch")
}

// checkArgs converts err or, if that is nil, the error of the decoder to an error
// for the caller.
func checkArgs(d *wire.Decoder, err error) error {
	if err == nil {
		err = d.Finish()
	}
	if err == nil {
		return nil
	}
	if known := toError(err); known.Name != wire.ErrFailed {
		return known
	}
	return wire.Errorf(wire.ErrInvalidArgs, "malformed arguments: %v", err)
}
