package main

import (
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestTerminal checks that no command writes control characters from names, reports or arguments to a
// terminal.
func TestTerminal(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	host := nstest.New(t)
	client := daemontest.Start(t, programs, host, bus.Address(), nil).Client(t)
	const evil = "e\x1b]0;a\u009b2J\x7f\u202e\r" // set the title, clear, delete, write backwards
	bind(t, host, client, "va", "tank", evil, evil)
	report(t, client, 1, "state", "pool", "tank", "id", evil, "state", evil)
	report(t, client, 3, "x", "pool", evil, "text", evil+strings.Repeat("é", 20_000)) // more than a buffer
	ordinary := regexp.MustCompile(`^([^\x00-\x08\x0b-\x1f\x7f-\x{9f}\p{Cf}\n]|\r\n|\x1b\[[0-9]{1,2}m)*$`)
	for _, test := range []struct {
		shown bool // the output has the hostile text, as escapes
		args  []string
	}{
		{true, []string{"monitor", "--no-follow"}},
		{true, []string{"monitor", "--no-follow", "--json"}},
		{true, []string{"list"}},
		{true, []string{"list", "--json"}},
		{true, []string{"containers"}},
		{true, []string{"containers", "--json"}},
		{true, []string{"wait", "tank:" + evil, evil}},
		{true, []string{"wait", "tank:" + evil, "a", "--timeout", "1ms"}},
		{true, []string{"list", evil}},
		{true, []string{evil}},
		{true, []string{"report", evil}},
		{true, []string{"monitor", "--" + evil}},
		{true, []string{"report", "--batch", evil}},
		{true, []string{"--bus", "unix:path=" + evil, "status"}},
		{true, []string{"--bus", "unix:path=" + evil, "status", "--json"}},
		{false, []string{"status"}},
		{false, []string{"status", "--metrics"}},
		{false, []string{"__complete", "list", ""}},
		{false, []string{"completion", "zsh"}},
		{false, []string{"list", "--help"}},
	} {
		all := onTerminal(t, bus, test.args...)
		if !ordinary.MatchString(all) || test.shown != strings.Contains(all, `]0;a\u009b2J\`) || strings.Contains(all, `\ufffd`) {
			t.Errorf("%q: %.500q", test.args, all)
		}
	}
}

// onTerminal runs the program on a terminal, and returns its output.
func onTerminal(t *testing.T, bus *bustest.Bus, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(), args...)
	cmd.Env = append(bus.Env(), "TERM=xterm")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := io.ReadAll(tty) // ends with EIO
	_ = cmd.Wait()
	_ = tty.Close()
	return string(all)
}
