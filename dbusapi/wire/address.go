package wire

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Names of buses that [ResolveAddress] knows.
const (
	BusSystem  = "system"
	BusSession = "session"
)

// ResolveAddress returns the D-Bus address of "system" or "session", from the
// same environment variables as the reference implementation. Any other bus
// must be an address itself, and is returned unchanged.
func ResolveAddress(bus string) (string, error) {
	switch bus {
	case BusSystem:
		if address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); address != "" {
			return address, nil
		}
		return "unix:path=/run/dbus/system_bus_socket", nil
	case BusSession:
		if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
			return address, nil
		}
		if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
			return "unix:path=" + EscapeAddress(dir) + "/bus", nil
		}
		return "", errors.New("there is no session bus: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")
	}
	if !strings.Contains(bus, ":") {
		return "", fmt.Errorf("bus %q: expected system, session, or an address like unix:path=/run/dbus/system_bus_socket", bus)
	}
	return bus, nil
}

// socketPath returns the path of the socket of one address, with a leading @ in
// the abstract namespace.
func socketPath(address string) (string, error) {
	transport, rest, _ := strings.Cut(address, ":")
	if transport != "unix" {
		return "", fmt.Errorf("address %q: only unix: addresses are supported", address)
	}
	for pair := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			return "", fmt.Errorf("address %q: %w", address, err)
		}
		switch key {
		case "path":
			return value, nil
		case "abstract":
			return "@" + value, nil
		}
	}
	return "", fmt.Errorf("address %q: neither path nor abstract is set", address)
}

// EscapeAddress escapes a value of an address, such as a path, as the D-Bus specification ("Server
// Addresses") requires.
func EscapeAddress(value string) string {
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_/.*", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
