package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
)

// TestWatchSilence kills a bridge for longer than osctl-eventd keeps events: watch reports that the host is
// silent, that it is back, and which events it lost, in words and as JSON.
func TestWatchSilence(t *testing.T) {
	e, server := fleettest.StartEventd(t, 10), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	args := bridge(t, server, e.Bus.Address(), "--alive", "1s")
	forward := launch(t, nil, args...)
	p := startWatch(t, server, "--json", "node1", "web.1")
	p.awaitNotice(t, "osctl-eventd-nats: web.1: the stream has no message of this host yet\n")
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 3))
	apitest.Eventually(t, "the events are seen", func() bool { return numbers(p.events(t)) == "node1:1 node1:2 node1:3" })
	forward.Kill()
	p.awaitNotice(t, "osctl-eventd-nats: node1: silent: no heartbeat since ")
	e.Commit(t, 21)
	launch(t, nil, args...)
	p.awaitNotice(t, "osctl-eventd-nats: node1: back after silence\n")
	p.awaitNotice(t, "osctl-eventd-nats: node1: lost 11 events: the history of osctl-eventd was too short\n")
	const want = "node1:1 node1:2 node1:3 _gap:lapped:11 node1:15 node1:16 node1:17 node1:18 node1:19 node1:20 node1:21 node1:22 node1:23 node1:24"
	apitest.Eventually(t, "all is seen", func() bool { return numbers(p.events(t)) == want })
	// On a busy machine a heartbeat may be late, which is reported as well.
	if n := strings.Count(p.Err.String(), "silent: no heartbeat") - strings.Count(p.Err.String(), "back after silence"); n < 0 || n > 1 {
		t.Errorf("silence was not reported once each time: %s", &p.Err)
	}
	if status := p.interrupt(t); status != exitLost {
		t.Errorf("exit status %d, want %d", status, exitLost)
	}
}

// TestStoredStatus stores messages that look like a status of the server, as any host can. It expects watch and hosts
// to get past them.
func TestStoredStatus(t *testing.T) {
	e, server := fleettest.StartEventd(t, 100), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	conn := server.Connect(t)
	launch(t, nil, bridge(t, server, e.Bus.Address())...)
	p := startWatch(t, server, "--json")
	want := ""
	for i, status := range []string{"100 Idle Heartbeat", "400 Bad Request", "404 No Messages", "408 Request Timeout", "409 Consumer Deleted", "503 "} {
		code, text, _ := strings.Cut(status, " ")
		header := nats.Header{"Status": {code}, "Description": {text}}
		if _, err := conn.RequestMsgWithContext(apitest.Bounded(t), &nats.Msg{Subject: fleet.Subject("node2"), Header: header}); err != nil {
			t.Fatal(err)
		}
		fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
		want += fmt.Sprintf("node1:%d ", i+1)
		apitest.Eventually(t, "watch gets past "+status, func() bool { return numbers(p.events(t))+" " == want })
		list := launch(t, nil, "hosts", "--server", server.URL)
		if status := list.Wait(t); status != exitUnhealthy || !strings.Contains(list.Out.String(), "node2  foreign") {
			t.Fatalf("hosts: %d, %s%s", status, &list.Out, &list.Err)
		}
	}
}

// TestStoredBadHeader stores a message whose header cannot be parsed, as any host can. It expects watch and hosts to
// get past it without an error.
func TestStoredBadHeader(t *testing.T) {
	e, server := fleettest.StartEventd(t, 100), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	launch(t, nil, bridge(t, server, e.Bus.Address())...)
	p := startWatch(t, server, "--json")
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const header = "NATS/1.0\r\nno colon\r\n\r\n"
	if _, err := fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"verbose\":false}\r\nHPUB osctl.events.node2 %d %[1]d\r\n%s\r\nPING\r\n", len(header), header); err != nil {
		t.Fatal(err)
	}
	fleettest.Retry(t, "the message is stored", func(ctx context.Context) error {
		_, err := stream.GetLastMsgForSubject(ctx, "osctl.events.node2")
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return err
		}
		return nil
	})
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
	apitest.Eventually(t, "watch gets past it", func() bool { return numbers(p.events(t)) == "node1:1" })
	p.awaitNotice(t, "node2: skipped message")
	if strings.Contains(p.Err.String(), "trying again") {
		t.Errorf("watch lost its connection: %s", &p.Err)
	}
	for range 5 {
		list := launch(t, nil, "hosts", "--server", server.URL)
		if status := list.Wait(t); status != exitUnhealthy || !strings.Contains(list.Out.String(), "node2  foreign") {
			t.Fatalf("hosts: %d, %s%s", status, &list.Out, &list.Err)
		}
	}
}

// TestWatchFilters selects events by flags, hosts by arguments, and the start by --since.
func TestWatchFilters(t *testing.T) {
	server := fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	for _, name := range []string{"node1", "node2", "web.1"} {
		e := fleettest.StartEventd(t, 10)
		e.Commit(t, 1, "pool", "tank", "id", "1", "state", "running")
		e.Commit(t, 1, "pool", "lxc", "id", "1", "state", "stopped")
		cursor := e.Commit(t, 1, "pool", "lxc", "id", "2", "state", "running")
		launch(t, nil, bridge(t, server, e.Bus.Address(), "--host", name)...)
		fleettest.AwaitCursor(t, stream, name, cursor)
	}
	// A host that was cut off for days.
	forgeLine(t, server.Connect(t), "late", "e:1", `{"type":"x","source":"u","opts":{},"time":"2026-11-22T10:11:12Z","cursor":"e:1"}`)
	for args, want := range map[string]string{
		"late --since 2026-11-22":          "late:1",
		"late --since 1h":                  "",
		"node1":                            "node1:1 node1:2 node1:3",
		"web.1":                            "web.1:1 web.1:2 web.1:3",
		"node2 web.1 --pool lxc":           "node2:2 node2:3 web.1:2 web.1:3",
		"--pool lxc --action running":      "node1:3 node2:3 web.1:3",
		"--type db":                        "",
		"--type state,db --id 2 --id 3":    "node1:3 node2:3 web.1:3",
		"node2 --since 1h":                 "node2:1 node2:2 node2:3",
		"node2 --since +1h":                "",
		"node2 --since oldest --pool tank": "node2:1",
		"--source netlink":                 "",
	} {
		p := launch(t, nil, append([]string{"watch", "--server", server.URL, "--json", "--no-follow"}, strings.Fields(args)...)...)
		if status, got := p.Wait(t), numbers(p.events(t)); status != 0 || got != want || p.Err.String() != "" {
			t.Errorf("watch %s: %d, %s, %s; want %s", args, status, got, &p.Err, want)
		}
	}
	for args, want := range map[string]string{
		"node1 *":                  `host "*": expected up to 64 letters`,
		"--stream a.b":             `stream "a.b": expected up to 64 letters`,
		"--type X":                 `--type "X": expected a type that matches`,
		"--since e:5":              `--since "e:5": expected oldest, `,
		"--since soon":             `--since "soon": expected oldest, `,
		"--stream NONE":            "stream NONE: nats: API error: code=404 err_code=10059 description=stream not found",
		"--server nats://[::1]:1":  "connect to nats://[::1]:1: ",
		"--cursor-file /dev/null":  "cursor file /dev/null: it is not a regular file",
		"--cursor-file nowhere/it": "no such file or directory",
	} {
		p := launch(t, nil, append([]string{"watch", "--server", server.URL}, strings.Fields(args)...)...)
		if status := p.Wait(t); status != exitFailure || p.Out.String() != "" || !strings.Contains(p.Err.String(), "osctl-eventd-nats: ") ||
			!strings.Contains(p.Err.String(), want) {
			t.Errorf("watch %s: %d, %s%s, want %s", args, status, &p.Out, &p.Err, want)
		}
	}
}

// TestWatchHostile reads messages that a hostile holder of a host's credential may write.
func TestWatchHostile(t *testing.T) {
	server := fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	conn := server.Connect(t)
	seq := 0
	forge := func(host, rest string) {
		seq++
		cursor := fmt.Sprint("e:", seq)
		line := fmt.Sprintf(`{"cursor":"%s","time":"2026-11-22T10:11:12Z",%s}`, cursor, rest)
		forgeLine(t, conn, host, cursor, line)
	}
	const evil = `\u001b[2J\u009b31m\u202e\r\n`
	forge("node1", `"type":"x","source":"`+evil+`","opts":{"pool":"`+evil+`","id":"`+evil+`","note":"`+evil+`"}`)
	forge("node1", `"type":"x","source":"u","opts":{},"host":"node2"`)
	forge("node1", `"type":"_gap","reason":"`+evil+strings.Repeat("x", 5000)+`","detail":"`+evil+`","from":"e:2","host":"node2"`)
	forge("node1", `"type":"x`+evil+`","source":"u","opts":{}`)
	forge("node1", `"type":"x","source":"u","opts":{"a`+evil+`":1}`)
	forge("node1", `"type":"x","source":"u","opts":{"a":1,"a":2}`)
	forge("node1", `"type":"x","source":"u","opts":{"a":[[[[[]]]]]}`)
	forge("node1", `"type":"x","source":"u","opts":{"a":[[[[1]]]]}`)
	forgeLine(t, conn, "node1", "e:9", evil)
	forgeLine(t, conn, "node1", "e:9"+evil, `{"cursor":"e:9`+evil+`","type":"_alive"}`)
	fleettest.Forge(t, conn, "node1", nats.Header{fleet.HeaderCursor: {"x"}}, "\x1b[2J")
	forge("a\x1b[2J\xff\u00a010:00:00.000", `"type":"y","source":"u","opts":{}`)
	for _, mode := range []string{"--json=false", "--json"} {
		p := launch(t, nil, "watch", "--server", server.URL, "--no-follow", mode)
		status, notices := p.Wait(t), p.Err.String()
		all := p.Out.String() + notices
		if bad := regexp.MustCompile(`[^\n -~]`).FindString(strings.ReplaceAll(all, `\u`, "")); status != exitLost || mode != "--json" && bad != "" {
			t.Errorf("%s: status %d, the output has %q:\n%s", mode, status, bad, all)
		}
		for line := range strings.Lines(notices) {
			if len(line) > maxText+100 {
				t.Errorf("a notice has %d bytes", len(line))
			}
		}
		for text, n := range map[string]int{
			`node1: lost an unknown number of events: \x1b[2J`: 1, "node1: cannot show event e:": 4,
			`node1: cannot show event e:7: event of type "x", option "a": got deeper nesting`: 1,
			"of the stream: not written by a bridge":                                          3, "node2": 0,
		} {
			if got := strings.Count(notices, text); got != n {
				t.Errorf("%s: %q is reported %d times, want %d:\n%s", mode, text, got, n, notices)
			}
		}
		if mode == "--json" {
			if got, want := numbers(p.events(t)), "node1:1 node1:2 _gap:"; !strings.HasPrefix(got, want) || strings.Contains(p.Out.String(), "node2") {
				t.Errorf("got %s, want %s..., in\n%s", got, want, &p.Out)
			}
		} else if !strings.Contains(p.Out.String(), "\n"+`a\x1b[2J\xff`) {
			t.Errorf("the name of a host is not printable:\n%s", &p.Out)
		}
	}
}

// forgeLine writes a line as a bridge does.
func forgeLine(t *testing.T, conn *nats.Conn, host, cursor, line string) {
	t.Helper()
	header := nats.Header{fleet.HeaderCursor: {cursor}, fleet.HeaderMachine: {"m"}}
	if _, err := conn.RequestMsgWithContext(apitest.Bounded(t), &nats.Msg{Subject: fleet.Subject(host), Header: header, Data: []byte(line)}); err != nil {
		t.Fatal(err)
	}
}

// TestWatchDropped resumes at a position that the stream has dropped, by age, by the limit of a host, or
// because the stream was recreated.
func TestWatchDropped(t *testing.T) {
	e, server := fleettest.StartEventd(t, 100), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	launch(t, nil, bridge(t, server, e.Bus.Address())...)
	file := filepath.Join(t.TempDir(), "cursor")
	next := func(status int, notice, want string, args ...string) {
		t.Helper()
		p := launch(t, nil, append([]string{"watch", "--server", server.URL, "--json", "--no-follow", "--cursor-file", file}, args...)...)
		if got, events := p.Wait(t), numbers(p.events(t)); got != status || events != want || !strings.Contains(p.Err.String(), notice) {
			t.Fatalf("status %d, events %s, notices %s; want %d, %s and %s", got, events, &p.Err, status, want, notice)
		}
	}
	commit := func(n int) { fleettest.AwaitCursor(t, stream, host, e.Commit(t, n)) }
	commit(1)
	next(0, "", "node1:1")
	commit(1)
	commit(1)
	if err := stream.Purge(t.Context(), jetstream.WithPurgeKeep(1)); err != nil { // as the limits do
		t.Fatal(err)
	}
	next(exitLost, "the stream dropped its messages 3 to 3 before they were read", "node1:3")
	commit(1)
	commit(1)
	forgeLine(t, server.Connect(t), "node2", "e:1", `{"type":"_alive","cursor":"e:1"}`)
	commit(1)
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(fleet.Subject(host)), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	next(exitLost, "before they were read", "node1:6")
	for range 2 { // a message of another host is the oldest one, so the missing one is behind it
		commit(1)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(fleet.Subject(host)), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	next(exitLost, "node1: events may be missing: the stream dropped all messages of this host", "node1:8")
	for _, args := range [][]string{{"node1"}, {"node1", "node2"}} { // again, with and without a filter in the server
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		next(exitLost, "node1: events may be missing", "node1:8", args...)
	}
	next(0, "", "")
	p := launch(t, nil, "watch", "--server", server.URL, "--stream", "OTHER", "--cursor-file", file)
	if status := p.Wait(t); status != exitFailure || !strings.Contains(p.Err.String(), "it belongs to the stream OSCTL, not OTHER") {
		t.Errorf("a cursor of another stream: %d, %s", status, &p.Err)
	}
	stream = server.RemakeStream(t)
	commit(1)
	next(exitLost, "the stream was recreated", "node1:9")
}

// TestWatchAged lets a stream drop messages by age while the watcher is away.
func TestWatchAged(t *testing.T) {
	e, server := fleettest.StartEventd(t, 100), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = 5*time.Second, 5*time.Second })
	launch(t, nil, bridge(t, server, e.Bus.Address())...)
	file := filepath.Join(t.TempDir(), "cursor")
	p := startWatch(t, server, "--json", "--cursor-file", file)
	e.Commit(t, 1)
	apitest.Eventually(t, "the event is seen", func() bool { return numbers(p.events(t)) == "node1:1" })
	if status := p.interrupt(t); status != 0 { // it keeps its position
		t.Errorf("exit status %d, want 0", status)
	}
	fleettest.AwaitCursor(t, stream, host, e.Commit(t, 5))
	apitest.Eventually(t, "the stream is empty", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	p = startWatch(t, server, "--json", "--cursor-file", file)
	p.awaitNotice(t, "before they were read")
	e.Commit(t, 1)
	apitest.Eventually(t, "the next event is seen", func() bool { return numbers(p.events(t)) == "node1:7" })
	if status := p.interrupt(t); status != exitLost {
		t.Errorf("exit status %d, want %d", status, exitLost)
	}
}

// TestWatchOlderCopy replaces the server's store by an older copy: the bridge fills it again, and watch shows
// nothing twice, even if it resumes only after the stream has more messages than before.
func TestWatchOlderCopy(t *testing.T) {
	for _, late := range []bool{false, true} {
		e, server := fleettest.StartEventd(t, 100), fleettest.StartServer(t, "")
		stream := server.MakeStream(t, nil)
		launch(t, nil, bridge(t, server, e.Bus.Address())...)
		p := startWatch(t, server, "--json")
		want := ""
		commit := func(n int) {
			for range n {
				fleettest.AwaitCursor(t, stream, host, e.Commit(t, 1))
				want = strings.TrimSpace(fmt.Sprint(want, " node1:", 1+strings.Count(want, ":")))
			}
		}
		seen := func() {
			t.Helper()
			apitest.Eventually(t, "all is seen", func() bool { return strings.HasSuffix(numbers(p.events(t)), want[strings.LastIndex(want, " ")+1:]) })
			if got := numbers(p.events(t)); got != want {
				t.Fatalf("got %s, want %s; notices %s", got, want, &p.Err)
			}
		}
		shell := func(script string) {
			cmd := exec.Command("sh", "-ec", script)
			cmd.Dir = server.Dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v, %s", script, err, out)
			}
		}
		commit(2)
		seen()
		server.Kill()
		shell("cp -a store older")
		server.Start(t)
		p.awaitNotice(t, "reading the stream again")
		commit(3)
		seen()
		if late {
			p.Signal(t, syscall.SIGSTOP)
		}
		server.Kill()
		shell("rm -r store; mv older store")
		server.Start(t)
		if late {
			commit(10)
			p.Signal(t, syscall.SIGCONT)
		}
		p.awaitNotice(t, "the stream went back to an older copy of itself")
		commit(1)
		seen()
	}
}
