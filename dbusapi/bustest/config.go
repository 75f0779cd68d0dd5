package bustest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Policies for [Start], for the name org.osctl.Eventd.
const (
	// PolicyOpen lets root own the name, everybody send to it and everybody
	// receive from it.
	PolicyOpen = `
  <policy user="root">
    <allow own="org.osctl.Eventd"/>
  </policy>
  <policy context="default">
    <allow send_destination="org.osctl.Eventd"/>
    <allow receive_sender="org.osctl.Eventd"/>
  </policy>`

	// PolicyRootOnly lets root own the name, send to it and receive its signals.
	// Everybody else may call Introspectable and Peer, and nothing more: they can
	// neither send signals to the name nor receive its signals.
	PolicyRootOnly = `
  <policy context="default">
    <deny send_destination="org.osctl.Eventd"/>
    <deny receive_sender="org.osctl.Eventd" receive_type="signal"/>
    <allow send_destination="org.osctl.Eventd" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.osctl.Eventd" send_interface="org.freedesktop.DBus.Peer"/>
  </policy>
  <policy user="root">
    <allow own="org.osctl.Eventd"/>
    <allow send_destination="org.osctl.Eventd"/>
    <allow receive_sender="org.osctl.Eventd"/>
  </policy>`
)

const doctype = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
`

// systemConf is /usr/share/dbus-1/system.conf of Debian 12 as to authentication,
// policy and limits (all at their defaults). Activation of services, syslog, the
// change of user and the machine's own policy files are left out.
const systemConf = doctype + `<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path=%[1]s</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Containers1"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"
          send_member="UpdateActivationEnvironment"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.systemd1.Activator"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.systemd1.Activator"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
  </policy>
  <includedir>%[2]s</includedir>
</busconfig>
`

// writeConfig makes the bus's directory, below /tmp and open to every uid, with the
// configuration and the policies in it.
func writeConfig(policies []string) (dir string, err error) {
	// Not below testing's TempDir, which only its owner may enter.
	dir, err = os.MkdirTemp("/tmp", "bustest-")
	if err != nil {
		return "", err
	}
	included := filepath.Join(dir, "system.d")
	files := map[string]string{
		configPath(dir): fmt.Sprintf(systemConf, socketPath(dir), included),
	}
	for i, policy := range policies {
		if !strings.Contains(policy, "<busconfig") {
			policy = doctype + "<busconfig>" + policy + "\n</busconfig>\n"
		}
		if err := wellFormed(policy); err != nil {
			return dir, fmt.Errorf("policy %d: %w", i, err)
		}
		files[filepath.Join(included, fmt.Sprintf("%02d.conf", i))] = policy
	}
	if err := os.Mkdir(included, 0o750); err != nil {
		return dir, err
	}
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return dir, err
		}
	}
	return dir, os.Chmod(dir, 0o755) //nolint:gosec // other uids must reach the socket
}

// wellFormed checks the XML of policies, because the buses only log that they ignore
// a malformed file.
func wellFormed(policy string) error {
	d := xml.NewDecoder(strings.NewReader(policy))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func configPath(dir string) string { return filepath.Join(dir, "system.conf") }
func socketPath(dir string) string { return filepath.Join(dir, "system_bus_socket") }
