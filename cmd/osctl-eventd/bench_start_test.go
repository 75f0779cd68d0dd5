package main

import (
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
	"github.com/osctl/eventd/netwatch/nstest"
)

// BenchmarkStart measures how long the daemon takes from its start until it says READY,
// without a log and with a full one of default size: as many events as there ever are,
// of usual size and so large that they fill the log.
func BenchmarkStart(b *testing.B) {
	for name, padding := range map[string]int{"no log": -1, "full log": 0, "full log of large events": 1500} {
		b.Run(name, func(b *testing.B) {
			host, bus := nstest.New(b), bustest.Start(b, bustest.Broker, bustest.PolicyOpen)
			state := stateNone
			if padding >= 0 {
				state = fullLog(b, padding)
			}
			var took []time.Duration
			for b.Loop() {
				took = append(took, readyAfter(b, host, bus, state))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-to-READY")
		})
	}
}

// readyAfter starts the daemon and returns how long it took to be ready.
func readyAfter(b *testing.B, host *nstest.NS, bus *bustest.Bus, state string) time.Duration {
	b.Helper()
	path := filepath.Join(b.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(b, err)
	defer func() { _ = socket.Close() }()
	must(b, socket.SetReadDeadline(time.Now().Add(patience)))
	started := time.Now()
	d := launchDaemon(b, host, bus.Address(), []string{"NOTIFY_SOCKET=" + path}, "--state-dir", state)
	buf := make([]byte, 4096)
	for {
		n, err := socket.Read(buf)
		must(b, err)
		if strings.Contains(string(buf[:n]), "READY=1") {
			break
		}
	}
	took := time.Since(started)
	must(b, d.Cmd.Process.Kill())
	d.Wait(b)
	return took
}

// fullLog makes a log that is as full as it gets.
func fullLog(b *testing.B, padding int) (dir string) {
	b.Helper()
	dir = b.TempDir()
	log := slog.New(slog.DiscardHandler)
	l, err := eventlog.Open(b.Context(), eventlog.Config{Dir: dir, Boot: bootID(log), Logger: log})
	must(b, err)
	h, err := hub.New(b.Context(), hub.Config{Log: l})
	must(b, err)
	for range 5*hub.DefaultHistory/4 - 1 {
		e, err := hub.NewEvent("state", hub.Options{
			{Name: "pool", Value: hub.String("tank")},
			{Name: "id", Value: hub.String("101")},
			{Name: "state", Value: hub.String("running")},
			{Name: "padding", Value: hub.Bytes(bytes.Repeat([]byte{7}, padding))},
		}, "osctld.service")
		must(b, err)
		_, err = h.Commit(hub.Batch{Events: []*hub.Event{e}})
		must(b, err)
	}
	h.Close()
	return dir
}
