package main

import (
	"net"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
)

// TestNotify starts a bridge while NATS is away: the bridge is ready, feeds the watchdog, reports the outage,
// and forwards once NATS is back.
func TestNotify(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	args := bridge(t, server, e.Bus.Address())
	server.Kill()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	launch(t, []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=400000"}, args...)
	// await waits for a notification.
	await := func(pattern string) {
		t.Helper()
		var received []string
		form := regexp.MustCompile("(?s)" + pattern)
		for deadline := time.Now().Add(apitest.Patience); ; {
			_ = socket.SetReadDeadline(deadline)
			buf := make([]byte, 4096)
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("no notification %s, the last are %q", pattern, received[max(len(received)-5, 0):])
			}
			received = append(received, string(buf[:n]))
			if form.MatchString(received[len(received)-1]) {
				return
			}
		}
	}
	await("^READY=1\n")
	await("^WATCHDOG=1\nSTATUS=Not forwarding since .*no servers available")
	cursor := e.Commit(t, 7)
	await("STATUS=Not forwarding .*, 7 of 7 events behind$")
	server.Start(t)
	await("STATUS=Forwarding to osctl.events.node1, at " + cursor + ", 0 of 7 events behind$")
	fleettest.AwaitCursor(t, stream, host, cursor)
	e.Stop()
	await("STATUS=Forwarding to osctl.events.node1, at " + cursor + "$") // without the backlog, which is unknown
}
