package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestSecretsLeaveMemory checks that a secret is not in the daemon's memory once the call that
// held it is answered, and that large secrets do not make the daemon grow.
func TestSecretsLeaveMemory(t *testing.T) {
	const batches, limit = 300, 64 << 20
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	// Preemption by signals is off: for a signal the kernel saves the vector registers, which may
	// hold part of a secret being copied, on the handler's stack, and Go does not wipe that.
	d := startDaemon(t, nstest.New(t), bus.Address(), []string{"GODEBUG=asyncpreemptoff=1"}, "--history", "64", "--state-dir", t.TempDir())
	c := d.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	secret := strings.Repeat("hunter2+swordfish", 3000)
	batch := make([]client.Report, 18)
	for i := range batch {
		batch[i] = client.Report{Type: "test", Options: hub.Options{
			{Name: "kept", Value: hub.String("in the clear")},
			{Name: "password", Value: hub.String(secret)},
			{Name: "more", Value: hub.Dict("s", "v", []hub.Value{hub.String("token"), hub.Variant(hub.String(secret[:100]))})},
		}}
	}
	for range batches {
		if _, err := c.ReportBatch(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	// Secrets of refused calls are wiped as well.
	if _, err := c.Report(ctx, "state", hub.Options{{Name: "password", Value: hub.String(secret)}}); !client.HasName(err, client.ErrInvalidEvent) {
		t.Error("report without a required option:", err)
	}
	pid := d.Cmd.Process.Pid
	if rss := residentBytes(t, pid); rss > limit {
		t.Errorf("the daemon uses %d MiB after %d batches with secrets of 1 MiB each", rss>>20, batches)
	}
	if n := countInMemory(t, pid, "hunter2+swordfish"); n > 0 {
		t.Errorf("the secret is in the daemon's memory %d times", n)
	}
	if n := countInMemory(t, pid, "in the clear"); n == 0 {
		t.Error("the text in the clear was not found either: the test searches the wrong memory")
	}
}

// residentBytes returns the resident memory of a process.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	must(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	must(t, err)
	return pages * os.Getpagesize()
}

// countInMemory counts the occurrences of a text in the writable memory of a process.
func countInMemory(t *testing.T, pid int, text string) int {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	must(t, err)
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	must(t, err)
	defer memory.Close()
	found := 0
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		content := make([]byte, to-from)
		n, err := memory.ReadAt(content, from)
		if err != nil && err != io.EOF && n == 0 {
			continue // an unreadable mapping such as [vvar]
		}
		found += bytes.Count(content[:n], []byte(text))
	}
	return found
}
