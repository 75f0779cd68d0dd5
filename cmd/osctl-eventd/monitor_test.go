package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/osctl/eventd/netwatch/cttest"
)

// linkMonitor is `ip monitor link`, which receives the same messages as the daemon.
type linkMonitor struct {
	cmd     *exec.Cmd
	printed string // the file with its output
}

// monitorLinks starts a linkMonitor on a host, and returns when it listens. It ends with the test.
func monitorLinks(t testing.TB, h *cttest.Host) *linkMonitor {
	t.Helper()
	m := &linkMonitor{cmd: h.Command("ip", "-oneline", "monitor", "link"), printed: filepath.Join(h.Dir(), "ip-monitor")}
	out, err := os.Create(m.printed)
	must(t, err)
	defer func() { _ = out.Close() }()
	m.cmd.Stdout = out
	must(t, m.cmd.Start())
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	})
	mark := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "listens"}}
	must(t, h.NS().Handle().LinkAdd(mark))
	m.await(t, "listens:", func() {
		must(t, h.NS().Handle().LinkSetUp(mark))
		must(t, h.NS().Handle().LinkSetDown(mark))
	})
	return m
}

// await calls do repeatedly until text is printed. It returns the whole output.
func (m *linkMonitor) await(t testing.TB, text string, do func()) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		do()
		printed, err := os.ReadFile(m.printed)
		must(t, err)
		if strings.Contains(string(printed), text) {
			return string(printed)
		}
		if time.Now().After(deadline) {
			t.Fatalf("ip monitor did not print %s", text)
		}
	}
}

// deletedLate reports whether the kernel announced that old is gone after it announced that other
// has carrier.
func (m *linkMonitor) deletedLate(t testing.TB, old, other int) bool {
	t.Helper()
	gone := fmt.Sprintf("Deleted %d: ", old)
	before, _, _ := strings.Cut(m.await(t, gone, func() {}), gone)
	return regexp.MustCompile(fmt.Sprintf(`(?m)^%d: .*[<,]LOWER_UP[,>]`, other)).MatchString(before)
}
