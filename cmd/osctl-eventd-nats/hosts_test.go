package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/accounts"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
)

// TestHosts lists a fleet as the read-only user: one host is ok, one silent, and two have a last message
// that no bridge wrote.
func TestHosts(t *testing.T) {
	server, stream, dir := startSecured(t)
	e := fleettest.StartEventd(t, 1000)
	as := func(name string, more ...string) []string {
		return bridge(t, server, e.Bus.Address(), append(more, "--host", name, "--user", name, "--credentials", filepath.Join(dir, name))...)
	}
	cursor := e.Commit(t, 5)
	launch(t, nil, as("node1")...)
	node2 := launch(t, nil, as("node2", "--alive", "1s")...)
	fleettest.AwaitCursor(t, stream, "node1", cursor)
	fleettest.AwaitCursor(t, stream, "node2", cursor)
	node2.Kill()
	admin := server.Connect(t, login(t, dir, accounts.Admin))
	fleettest.Forge(t, admin, "web.1", nats.Header{}, "x")
	fleettest.Forge(t, admin, "a-far-year", nats.Header{
		fleet.HeaderCursor: {"e:1"}, fleet.HeaderMachine: {"m"}, fleet.HeaderTime: {"9223372036854775807"},
	}, "x")

	rights := newIntruder(t, server, dir, accounts.Watch)
	if rights.request(t, "$JS.API.INFO", "") == nil {
		t.Error("the read-only user cannot read the state of the server")
	}
	if rights.request(t, fleet.HeadSubject("OSCTL", "node1"), "") != nil { // hosts and watch use consumers
		t.Error("the read-only user may request a single message")
	}
	watch := []string{"hosts", "--server", server.URL, "--user", accounts.Watch, "--credentials", filepath.Join(dir, accounts.Watch)}
	var hosts map[string]map[string]any
	apitest.Eventually(t, "node2 is silent", func() bool {
		p := launch(t, nil, append(watch, "--json")...)
		if status := p.Wait(t); status != exitUnhealthy {
			t.Fatalf("hosts: %d, %s", status, &p.Out)
		}
		hosts = map[string]map[string]any{}
		for line := range strings.Lines(p.Out.String()) {
			host := map[string]any{}
			if err := json.Unmarshal([]byte(line), &host); err != nil {
				t.Fatal(err)
			}
			hosts[host["host"].(string)] = host
		}
		return hosts["node2"]["health"] == silent
	})
	state := hosts["node1"]["state"].(map[string]any)
	if len(hosts) != 4 || hosts["a-far-year"]["health"] != foreign || hosts["node1"]["health"] != healthy || hosts["web.1"]["health"] != foreign || hosts["node1"]["cursor"] != cursor || state["history"] != 5.0 {
		t.Errorf("hosts %v", hosts)
	}
	p := launch(t, nil, watch...)
	p.Wait(t)
	if lines := strings.Split(p.Out.String(), "\n"); len(lines) != 6 || !strings.HasPrefix(lines[0], "HOST ") || !strings.HasPrefix(lines[2], "node1 ") {
		t.Errorf("the table is\n%s", &p.Out)
	}
	p = launch(t, nil, append(watch, "--metrics")...)
	p.Wait(t)
	for _, want := range []string{`osctl_fleet_healthy{host="node1"} 1`, `osctl_fleet_healthy{host="node2"} 0`, `osctl_fleet_healthy{host="web.1"} 0`, `osctl_fleet_durable{host="node1"} 0`} {
		if !strings.Contains(p.Out.String(), want+"\n") {
			t.Errorf("the metrics lack %s:\n%s", want, &p.Out)
		}
	}
}

// TestHostsState checks the columns of a host: the room in the history, the lag, and an osctl-eventd that is
// away.
func TestHostsState(t *testing.T) {
	e, server := fleettest.StartEventd(t, 1000), fleettest.StartServer(t, "")
	stream := server.MakeStream(t, nil)
	args := bridge(t, server, e.Bus.Address())
	shows := func(row string) {
		t.Helper()
		var p *process
		defer func() {
			if t.Failed() {
				t.Logf("want %s in\n%s", row, &p.Out)
			}
		}()
		apitest.Eventually(t, "the table has "+row, func() bool {
			p = launch(t, nil, "hosts", "--server", server.URL)
			p.Wait(t)
			return regexp.MustCompile("(?m)^node1  " + row + "$").MatchString(p.Out.String())
		})
	}
	cursor := e.Commit(t, 5)
	forward := launch(t, nil, args...)
	fleettest.AwaitCursor(t, stream, host, cursor)
	shows(`ok .*  0    -     no`)
	forward.Kill()
	cursor = e.Commit(t, 1500)
	launch(t, nil, args...)
	fleettest.AwaitCursor(t, stream, host, cursor)
	shows(`ok .*  0    1000  no`)
	e.Stop()
	shows(`no-eventd .*  -    -     -`)
	e.Serve(t, e.Hub)
	shows(`ok .*  0    1000  no`)
}

// TestHostsOnce lists the hosts while they write. It expects each host once.
func TestHostsOnce(t *testing.T) {
	const many = 2000
	server := fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	conn := server.Connect(t)
	write := func() {
		for i := range many {
			if err := conn.Publish(fleet.Subject(fmt.Sprint("node", i)), nil); err != nil {
				t.Error(err)
			}
		}
		if err := conn.FlushWithContext(apitest.Bounded(t)); err != nil {
			t.Error(err)
		}
	}
	write()
	stream := openStream(t, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			write()
		}
	}()
	defer func() { <-done }()
	for range 5 {
		hosts, err := fleet.Hosts(apitest.Bounded(t), stream)
		if err != nil || len(hosts) != many {
			t.Fatalf("%d hosts, %v", len(hosts), err)
		}
	}
}

// openStream opens the stream of a server, over a connection of its own.
func openStream(t *testing.T, server *fleettest.Server) *fleet.Stream {
	t.Helper()
	link, err := fleet.Dial(&fleet.Access{Servers: server.URL}, fleet.DefaultStream, "watch")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	stream, err := link.Stream(apitest.Bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// newReader returns a reader of all messages. Its requests expire after a time, or that of all readers if 0.
func newReader(t *testing.T, server *fleettest.Server, expires time.Duration) *fleet.Reader {
	t.Helper()
	config := jetstream.ConsumerConfig{FilterSubject: fleet.Subjects, MaxRequestExpires: expires}
	r, err := openStream(t, server).NewReader(apitest.Bounded(t), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// TestReader reads more messages, and more bytes, than one request asks for.
func TestReader(t *testing.T) {
	server := fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	conn := server.Connect(t)
	const small, large = 40_000, 40
	for i := range small + large {
		var data []byte
		if i >= small {
			data = make([]byte, 900<<10)
		}
		if err := conn.Publish(fleet.Subject("node1"), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.FlushWithContext(apitest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
	requests, err := conn.SubscribeSync("$JS.API.CONSUMER.MSG.NEXT.>")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t, server, 0)
	for want := range uint64(small + large) {
		msg, err := r.Next(apitest.Bounded(t))
		if err != nil {
			t.Fatalf("after %d messages: %v", want, err)
		}
		if meta, err := msg.Metadata(); err != nil || meta.Sequence.Stream != want+1 {
			t.Fatalf("%+v, %v, want message %d", meta, err, want+1)
		}
	}
	if err := conn.FlushWithContext(apitest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := requests.Pending(); err != nil || n > 14 { // at most 4,096 messages and 8 MiB each
		t.Errorf("%d requests, %v", n, err)
	}
}

// TestReaderExactBytes reads messages that have just as many bytes as a request asks for. The server ends such a
// request without a status.
func TestReaderExactBytes(t *testing.T) {
	const requested, large = 8 << 20, 8
	server := fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	conn := server.Connect(t)
	publish := func(size int) {
		if err := conn.Publish(fleet.Subject("node1"), make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := conn.FlushWithContext(apitest.Bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	// read returns the bytes of the first messages, and what the last of them has beside its data.
	read := func(messages int) (bytes, beside int) {
		r := newReader(t, server, 0)
		for i := range messages {
			msg, err := r.Next(apitest.Bounded(t))
			if err != nil {
				t.Fatalf("after %d messages: %v", i, err)
			}
			bytes, beside = bytes+msg.Size(), msg.Size()-len(msg.Data)
		}
		return bytes, beside
	}
	for range large {
		publish(1<<20 - 4096)
	}
	bytes, beside := read(large)
	publish(requested - bytes - beside)
	if bytes, _ = read(large + 1); bytes != requested {
		t.Fatalf("the messages have %d bytes, want %d", bytes, requested)
	}
	publish(0)
	read(large + 2)
}

// TestReaderExpires reads messages that come about when requests expire.
func TestReaderExpires(t *testing.T) {
	const many = 3000
	server := fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	conn := server.Connect(t)
	r := newReader(t, server, time.Millisecond)
	go func() {
		for range many {
			_ = conn.Publish(fleet.Subject("node1"), nil)
			_ = conn.Flush()
		}
	}()
	for i := range many {
		if _, err := r.Next(apitest.Bounded(t)); err != nil {
			t.Fatalf("after %d messages: %v", i, err)
		}
	}
}

// TestReaderUnanswered expects an error if the server does not answer.
func TestReaderUnanswered(t *testing.T) {
	server := fleettest.StartServer(t, "")
	server.MakeStream(t, nil)
	r := newReader(t, server, time.Millisecond)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(apitest.Bounded(t)); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v", err)
	}
}

func TestSilent(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		age    time.Duration
		status *fleet.Status
		want   bool
	}{
		{time.Hour, nil, false}, {24 * time.Second, &fleet.Status{Interval: 10}, false}, {26 * time.Second, &fleet.Status{Interval: 10}, true},
	} {
		h := fleet.Host{Head: fleet.Head{Seen: now.Add(-test.age), Status: test.status}}
		if h.Silent(now) != test.want {
			t.Errorf("after %v with %v: silent is not %t", test.age, test.status, test.want)
		}
	}
}
