// Package fleettest has what the tests of the bridge need: NATS servers, an osctl-eventd without a
// watcher of the kernel, a proxy, and a reader that checks a whole stream. All run on loopback and
// on private buses.
package fleettest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/osctl/eventd/dbusapi/apitest"
)

// Server is a nats-server process with JetStream: the program in NATS_SERVER, or else Debian's.
type Server struct {
	URL string
	Dir string // of its configuration and store

	cmd  *exec.Cmd
	dead chan struct{}
}

// StartServer starts a server, which ends with the test. conf is appended to its configuration.
func StartServer(tb testing.TB, conf string) *Server {
	tb.Helper()
	s := &Server{Dir: tb.TempDir()}
	s.Configure(tb, "-1", conf)
	s.Start(tb)
	tb.Cleanup(s.Kill)
	return s
}

// Configure writes the configuration for the next start.
func (s *Server) Configure(tb testing.TB, port, conf string) {
	tb.Helper()
	text := fmt.Sprintf("host: 127.0.0.1\nport: %s\nserver_name: test\n%s\n"+
		"jetstream { store_dir: %q, max_file_store: 2G, max_memory_store: 64M }\n", port, conf, s.store())
	if err := os.WriteFile(s.conf(), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) conf() string  { return filepath.Join(s.Dir, "nats.conf") }
func (s *Server) store() string { return filepath.Join(s.Dir, "store") }

// Start starts the server, and waits until it answers. A restart uses the same address.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	program := os.Getenv("NATS_SERVER")
	if program == "" {
		program = "nats-server"
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(program, "-c", s.conf(), "--ports_file_dir", s.Dir) //nolint:noctx,gosec // killed by Kill; the tester names it
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		tb.Fatalf("%v; install the Debian package nats-server", err)
	}
	dead := make(chan struct{})
	s.dead = dead
	go func(cmd *exec.Cmd) {
		defer close(dead)
		_ = cmd.Wait()
	}(s.cmd)
	ports := filepath.Join(s.Dir, fmt.Sprintf("%s_%d.ports", filepath.Base(program), s.cmd.Process.Pid))
	apitest.Eventually(tb, "the server is ready", func() bool {
		select {
		case <-dead:
			output, _ := os.ReadFile(log.Name())
			tb.Fatalf("the server ended: %s", output)
		default:
		}
		text, _ := os.ReadFile(ports) //nolint:gosec // below a directory of the test
		found := regexp.MustCompile(`(nats|tls)://127\.0\.0\.1:\d+`).Find(text)
		output, _ := os.ReadFile(log.Name())
		if found == nil || !bytes.Contains(output, []byte("Server is ready")) {
			return false
		}
		s.URL = string(found)
		return true
	})
	_ = os.Remove(ports)
	port := regexp.MustCompile(`\d+$`).FindString(s.URL)
	text, err := os.ReadFile(s.conf())
	if err != nil {
		tb.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^port: .*$`).ReplaceAll(text, []byte("port: "+port))
	if err := os.WriteFile(s.conf(), text, 0o600); err != nil { //nolint:gosec // below a directory of the test
		tb.Fatal(err)
	}
}

// Kill sends SIGKILL, and waits until the server has ended.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.dead
}

// Freeze stops the process, which keeps its connections but answers nothing.
func (s *Server) Freeze() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Connect connects to the server. The connection ends with the test.
func (s *Server) Connect(tb testing.TB, options ...nats.Option) *nats.Conn {
	tb.Helper()
	closed := make(chan struct{})
	options = append(options, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	c, err := nats.Connect(s.URL, options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		<-closed
	})
	return c
}

// MakeStream creates the stream of a fleet. change may modify its configuration, or be nil.
func (s *Server) MakeStream(tb testing.TB, change func(*jetstream.StreamConfig), options ...nats.Option) jetstream.Stream {
	tb.Helper()
	js, err := jetstream.New(s.Connect(tb, options...))
	if err != nil {
		tb.Fatal(err)
	}
	config := jetstream.StreamConfig{
		Name: "OSCTL", Subjects: []string{"osctl.events.*"}, Storage: jetstream.FileStorage, AllowDirect: true,
	}
	if change != nil {
		change(&config)
	}
	var stream jetstream.Stream
	Retry(tb, "create the stream", func(ctx context.Context) error {
		stream, err = js.CreateStream(ctx, config)
		return err
	})
	return stream
}

// RemakeStream deletes the stream of a fleet and creates it anew.
func (s *Server) RemakeStream(tb testing.TB) jetstream.Stream {
	tb.Helper()
	js, err := jetstream.New(s.Connect(tb))
	if err == nil {
		err = js.DeleteStream(tb.Context(), "OSCTL")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s.MakeStream(tb, nil)
}

// Retry repeats do until it succeeds.
func Retry(tb testing.TB, what string, do func(context.Context) error) {
	tb.Helper()
	var err error
	defer func() {
		if tb.Failed() {
			tb.Logf("%s: %v", what, err)
		}
	}()
	apitest.Eventually(tb, what, func() bool {
		ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Second)
		defer cancel()
		err = do(ctx)
		return err == nil
	})
}
