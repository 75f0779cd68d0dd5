package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/accounts"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleettest"
	"github.com/osctl/eventd/dbusapi/apitest"
)

// startSecured starts a server with the accounts of two hosts, and creates the stream of stream.json.
func startSecured(t *testing.T) (server *fleettest.Server, stream jetstream.Stream, dir string) {
	t.Helper()
	dir = t.TempDir()
	p := launch(t, nil, "setup", "--out", dir, "node1", "node2")
	if status := p.Wait(t); status != 0 || !strings.Contains(p.Out.String(), "a password for each of 2 hosts") {
		t.Fatalf("setup: %d, %s", status, &p.Out)
	}
	server = &fleettest.Server{Dir: t.TempDir()}
	conf, err := os.ReadFile(filepath.Join(dir, "accounts.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(server.Dir, "accounts.conf"), conf, 0o600); err != nil {
		t.Fatal(err)
	}
	server.Configure(t, "-1", "include ./accounts.conf")
	server.Start(t)
	t.Cleanup(server.Kill)
	text, err := os.ReadFile(filepath.Join(dir, "stream.json"))
	if err != nil {
		t.Fatal(err)
	}
	stream = server.MakeStream(t, func(c *jetstream.StreamConfig) {
		*c = jetstream.StreamConfig{}
		if err := json.Unmarshal(text, c); err != nil {
			t.Fatal(err)
		}
		c.MaxBytes = 1 << 30
	}, login(t, dir, accounts.Admin))
	return server, stream, dir
}

// login returns the option to log in as a user of setup.
func login(t *testing.T, dir, user string) nats.Option {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(dir, user, "password"))
	if err != nil {
		t.Fatal(err)
	}
	return nats.UserInfo(user, strings.TrimSpace(string(password)))
}

// TestSetup lets two hosts forward with the files of setup, and then one of them try everything that it must
// not do.
func TestSetup(t *testing.T) {
	server, stream, dir := startSecured(t)
	for _, name := range []string{"node1", "node2"} {
		e := fleettest.StartEventd(t, 1000)
		launch(t, nil, bridge(t, server, e.Bus.Address(), "--host", name, "--user", name, "--credentials", filepath.Join(dir, name))...)
		fleettest.AwaitCursor(t, stream, name, e.Commit(t, 5))
	}
	before := fleettest.Messages(t, stream, "node2")
	rights := newIntruder(t, server, dir, "node1")
	own, other := fleet.Subject("node1"), fleet.Subject("node2")
	ownHead, otherHead := fleet.HeadSubject("OSCTL", "node1"), fleet.HeadSubject("OSCTL", "node2")

	// Without the requests of a bridge, the denials below would prove nothing.
	if reply := rights.request(t, ownHead, ""); reply == nil || reply.Header.Get(fleet.HeaderCursor) == "" {
		t.Fatalf("a host cannot read its own head: %v", reply)
	}
	for _, subject := range []string{
		other, otherHead, "osctl.events.*", "osctl.live.node2.x", "$JS.API.INFO", "$JS.API.STREAM.INFO.OSCTL", "$JS.API.STREAM.PURGE.OSCTL",
		"$JS.API.STREAM.DELETE.OSCTL", "$JS.API.STREAM.MSG.GET.OSCTL", "$JS.API.STREAM.CREATE.X", "$JS.API.CONSUMER.CREATE.OSCTL.x",
		"$JS.API.CONSUMER.CREATE.OSCTL", "$JS.API.CONSUMER.DURABLE.CREATE.OSCTL.x", "$KV.OSCTL.x", "_INBOX_node2.x.y",
	} {
		if reply := rights.request(t, subject, `{"last_by_subj":"`+other+`"}`); reply != nil {
			t.Errorf("a request to %s was answered: %s", subject, reply.Data)
		}
	}
	// This request names the subject in its body.
	if reply := rights.request(t, "$JS.API.DIRECT.GET.OSCTL", `{"last_by_subj":"`+other+`"}`); reply != nil {
		t.Errorf("the other host's head was read: %v", reply.Header)
	}
	// The body of a permitted request does not change what it reads.
	if reply := rights.request(t, ownHead, `{"last_by_subj":"`+other+`"}`); reply != nil && reply.Header.Get(nats.JSSubject) == other {
		t.Errorf("the other host's head was read: %v", reply.Header)
	}
	for _, subject := range []string{">", "osctl.>", other, "_INBOX.>", "_INBOX_node2.>", "$JS.>", "*.>"} {
		if rights.subscribe(t, subject) {
			t.Errorf("subscribed to %s", subject)
		}
	}
	// The server sends its reply to any reply subject.
	for _, subject := range []string{own, ownHead} {
		for _, reply := range []string{other, otherHead, "$JS.API.STREAM.PURGE.OSCTL"} {
			rights.publish(t, subject, reply, `{"type":"x"}`)
		}
	}
	rights.request(t, ownHead, "") // waits until the server has handled all messages before
	after := fleettest.Messages(t, stream, "node2")
	if len(after) != len(before) {
		t.Errorf("the other host has %d messages, had %d", len(after), len(before))
	}
}

// intruder is a connection that tries forbidden requests.
type intruder struct {
	conn   *nats.Conn
	denied chan error
}

// newIntruder logs in as a user of setup.
func newIntruder(t *testing.T, server *fleettest.Server, dir, user string) *intruder {
	t.Helper()
	i := &intruder{denied: make(chan error, 100)}
	i.conn = server.Connect(t, login(t, dir, user), nats.CustomInboxPrefix(fleet.Inbox(user)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { i.denied <- err }))
	return i
}

// request returns the reply, nil if the request was denied or got no reply.
func (i *intruder) request(t *testing.T, subject, body string) *nats.Msg {
	t.Helper()
	ctx, cancel := context.WithCancel(apitest.Bounded(t))
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	for len(i.denied) > 0 {
		<-i.denied
	}
	go func() {
		select {
		case <-i.denied:
			cancel()
		case <-done:
		}
	}()
	reply, err := i.conn.RequestWithContext(ctx, subject, []byte(body))
	if err != nil {
		return nil
	}
	return reply
}

// subscribe reports whether the server permits a subscription. The server sends a denial before the reply to
// the flush, and the connection keeps it as its last error.
func (i *intruder) subscribe(t *testing.T, subject string) bool {
	t.Helper()
	s, err := i.conn.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Unsubscribe() }()
	if err := i.conn.FlushWithContext(apitest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
	err = i.conn.LastError()
	return err == nil || !strings.Contains(err.Error(), strconv.Quote(subject))
}

func (i *intruder) publish(t *testing.T, subject, reply, body string) {
	t.Helper()
	if err := i.conn.PublishRequest(subject, reply, []byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := i.conn.FlushWithContext(apitest.Bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func TestSetupAgain(t *testing.T) {
	dir := t.TempDir()
	read := func(user string) string {
		text, err := os.ReadFile(filepath.Join(dir, user, "password"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	f := accounts.Fleet{Stream: "OSCTL", Hosts: []string{"node1"}}
	if err := f.Write(dir); err != nil {
		t.Fatal(err)
	}
	was := read("node1")
	f.Hosts = append(f.Hosts, "node2")
	if err := f.Write(dir); err != nil {
		t.Fatal(err)
	}
	if read("node1") != was || len(was) < 20 || read("node2") == was {
		t.Errorf("passwords %q, %q, %q", was, read("node1"), read("node2"))
	}
	empty := filepath.Join(dir, "node2", "password") // as a full disk leaves it
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(dir); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("with an empty password: %v", err)
	}
	for _, hosts := range [][]string{{""}, {"a", "a"}, {"a/b"}, {".."}, {accounts.Admin}} {
		if err := (&accounts.Fleet{Stream: "OSCTL", Hosts: hosts}).Check(); err == nil {
			t.Errorf("hosts %q are accepted", hosts)
		}
	}
}
