package main

import (
	"bytes"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
	"github.com/osctl/eventd/netwatch/nstest"
)

// BenchmarkStart measures the time from the daemon's start to READY=1: without a log, with a log
// of the maximum number of events, and with one of the maximum size.
func BenchmarkStart(b *testing.B) {
	for name, padding := range map[string]int{"no log": -1, "full log": 0, "full log of large events": 1500} {
		b.Run(name, func(b *testing.B) {
			host, bus := nstest.New(b), bustest.Start(b, bustest.Broker, bustest.PolicyOpen)
			state := stateNone
			if padding >= 0 {
				state = writeFullLog(b, padding)
			}
			var took []time.Duration
			for b.Loop() {
				took = append(took, measureStart(b, host, bus, state))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-to-READY")
		})
	}
}

// measureStart starts the daemon and returns the time until it is ready.
func measureStart(b *testing.B, host *nstest.NS, bus *bustest.Bus, state string) time.Duration {
	b.Helper()
	path, messages := notifySocket(b)
	started := time.Now()
	d := launchDaemon(b, host, bus.Address(), []string{"NOTIFY_SOCKET=" + path}, "--state-dir", state)
	next(b, messages, "READY=1")
	took := time.Since(started)
	must(b, d.Cmd.Process.Kill())
	d.Wait(b)
	return took
}

// writeFullLog writes a log of the maximum number of events and returns its directory.
func writeFullLog(b *testing.B, padding int) (dir string) {
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
