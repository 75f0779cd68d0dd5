package wire

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestResolveAddress(t *testing.T) {
	for _, test := range []struct {
		bus, system, session, runtime string
		want                          string // "" for an error
	}{
		{bus: "system", want: "unix:path=/run/dbus/system_bus_socket"},
		{bus: "system", system: "unix:path=/x", session: "unix:path=/y", want: "unix:path=/x"},
		{bus: "session", system: "unix:path=/x", session: "unix:path=/y", want: "unix:path=/y"},
		{bus: "session", runtime: "/run/user/1 000", want: "unix:path=/run/user/1%20000/bus"},
		{bus: "session", session: "unix:path=/y", runtime: "/run/user/1000", want: "unix:path=/y"},
		{bus: "session"},
		{bus: "unix:path=/a", system: "unix:path=/x", want: "unix:path=/a"},
		{bus: "tcp:host=a", want: "tcp:host=a"},
		{bus: "syst"},
		{bus: ""},
	} {
		t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", test.system)
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", test.session)
		t.Setenv("XDG_RUNTIME_DIR", test.runtime)
		if got, err := ResolveAddress(test.bus); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}

func TestSocketPath(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/run/bus":                 "/run/bus",
		"unix:path=/a%20b,guid=12":           "/a b",
		"unix:guid=12,path=/a":               "/a",
		"unix:abstract=/tmp/x":               "@/tmp/x",
		"unix:tmpdir=/tmp":                   "",
		"unix:":                              "",
		"unix":                               "",
		"unix:path=/a%2":                     "",
		"unix:path=/a%zz":                    "",
		"tcp:host=localhost,port=1":          "",
		"":                                   "",
		"unixexec:path=/bin/true":            "",
		"nonce-tcp:host=a,noncefile=/a":      "",
		"launchd:env=DBUS_LAUNCHD_SOCKET_X":  "",
		"unix:path=/run/user/1000/bus,x=y,z": "/run/user/1000/bus",
	} {
		if got, err := socketPath(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", address, got, err, want)
		}
	}
}

func TestDialSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sock, err := DialSocket(t.Context(), "tcp:host=a;unix:path=/nowhere;unix:path="+path)
	if err != nil {
		t.Fatal("the third of three addresses:", err)
	}
	_ = sock.Close()
	_, err = DialSocket(t.Context(), "tcp:host=a;unix:path=/nowhere")
	if err == nil || !strings.Contains(err.Error(), "tcp:host=a") || !strings.Contains(err.Error(), "/nowhere") {
		t.Error("no address can be reached:", err)
	}
}

// An escaped path is parsed as the same path, and has no special characters.
func TestEscapeAddressRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := "/" + string(rapid.SliceOf(rapid.Byte()).Draw(t, "path"))
		escaped := EscapeAddress(path)
		if got, err := socketPath("unix:path=" + escaped + ",guid=12"); got != path || err != nil {
			t.Fatalf("%q became %q, %v, by way of %q", path, got, err, escaped)
		}
		if got, err := socketPath("unix:abstract=" + escaped); got != "@"+path || err != nil {
			t.Fatalf("%q became %q, %v, by way of %q", path, got, err, escaped)
		}
		if i := strings.IndexFunc(escaped, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(",;=:'\"\\", r) }); i >= 0 {
			t.Fatalf("%q is not escaped at byte %d", escaped, i)
		}
	})
}
