package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/osctl/eventd/cmd/internal/daemontest"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/netwatch/nstest"
)

// TestStopUnderLoad sends SIGTERM while four clients report and a backlog of signals is queued:
// the daemon announces every answered report before it exits with 0.
func TestStopUnderLoad(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	d := startDaemon(t, nstest.New(t), bus.Address(), nil)

	receiver := receiveSignals(t, bus, "")
	var mu sync.Mutex
	var answered []uint64
	var wg sync.WaitGroup
	for range 4 {
		client := d.Client(t)
		wg.Go(func() {
			for {
				seq, err := client.Report(t.Context(), hub.TypeState, hub.Options{
					{Name: "pool", Value: hub.String("tank")}, {Name: "id", Value: hub.String("1")}, {Name: "state", Value: hub.String("running")},
				})
				if err != nil {
					return
				}
				mu.Lock()
				answered = append(answered, seq)
				mu.Unlock()
			}
		})
	}
	apitest.Eventually(t, "2,000 are answered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(answered) > 2000
	})
	backlog := reportBacklog(t, d.Client(t))
	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	wg.Wait()
	announced := receiver()
	for _, seq := range append(answered, backlog...) {
		if !announced[seq] {
			t.Errorf("report %d was answered, but not announced; %d of %d were announced", seq, len(announced), len(answered)+len(backlog))
			break
		}
	}
}

// TestLogReaderEnds ends the reader of the log, as a journald that crashes: the daemon goes on.
func TestLogReaderEnds(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	r, w, err := os.Pipe()
	must(t, err)
	must(t, r.Close())
	cmd := exec.Command(filepath.Join(programs, "osctl-eventd"), "--bus", bus.Address(), "--state-dir", "none")
	cmd.Stderr = w
	d := daemontest.Run(t, cmd, nstest.New(t).Start, bus.Address())
	must(t, w.Close())
	d.WaitForService(t) // it has logged several lines by now
	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// reportBacklog reports so many events at once that the bus needs a while to take the signals. It
// returns the numbers of the events.
func reportBacklog(t *testing.T, caller *client.Client) []uint64 {
	t.Helper()
	batch := make([]client.Report, client.MaxEvents)
	for i := range batch {
		batch[i] = client.Report{Type: "backlog", Options: hub.Options{{Name: "text", Value: hub.String(strings.Repeat("x", 900))}}}
	}
	first, err := caller.ReportBatch(t.Context(), batch)
	must(t, err)
	var numbers []uint64
	for i := range batch {
		numbers = append(numbers, first+uint64(i))
	}
	return numbers
}

// receiveSignals receives the signals of the service from now on. The function that it returns
// waits until the service leaves the bus, and returns the numbers of the events. rule is appended
// to the match rule, and begins with a comma unless it is empty.
func receiveSignals(t *testing.T, bus *bustest.Bus, rule string) func() map[uint64]bool {
	t.Helper()
	conn := bus.DialAs(t, 0)
	in := bufio.NewReader(conn)
	call := func(serial uint32, member, rule string) {
		t.Helper()
		m := bustest.MethodCall(bustest.DriverName, bustest.DriverPath, bustest.DriverName, member)
		m.Serial = serial
		if rule != "" {
			m.Signature, m.Body = "s", (&bustest.Body{}).String(rule).Bytes()
		}
		_, err := conn.Write(m.Marshal())
		must(t, err)
		for m.ReplySerial != serial {
			m, err = bustest.ReadMessage(in)
			must(t, err)
		}
		if m.Type != bustest.TypeReturn {
			t.Fatalf("%s: %+v", member, m)
		}
	}
	call(1, "Hello", "")
	call(2, "AddMatch", "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.osctl.Eventd'")
	call(3, "AddMatch", "type='signal',sender='org.osctl.Eventd',member='Event'"+rule)
	announced, left := map[uint64]bool{}, make(chan error, 1)
	go func() {
		for {
			m, err := bustest.ReadMessage(in)
			if err != nil || m.Member == "NameOwnerChanged" {
				left <- err
				return
			}
			if m.Member == "Event" {
				announced[seqOf(m)] = true
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return func() map[uint64]bool {
		t.Helper()
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		must(t, <-left)
		return announced
	}
}

// seqOf returns the number of the event in a signal.
func seqOf(m *bustest.Message) uint64 {
	pos := 0
	number := func(size int) (v uint64) {
		pos = (pos + size - 1) &^ (size - 1)
		for i := range size {
			v |= uint64(m.Body[pos+i]) << (8 * i)
		}
		pos += size
		return v
	}
	for range 5 {
		pos += int(number(4)) + 1
	}
	return number(8)
}

// notifySocket creates a notification socket like systemd's. It returns the path and the messages
// received.
func notifySocket(t testing.TB) (string, <-chan string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	messages := make(chan string, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(messages)
		buf := make([]byte, 4096)
		for {
			n, err := sock.Read(buf)
			if err != nil {
				return
			}
			messages <- string(buf[:n])
		}
	}()
	t.Cleanup(func() {
		_ = sock.Close()
		<-done
	})
	return path, messages
}

// next returns the next message that contains a text.
func next(t testing.TB, messages <-chan string, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-messages:
			if strings.Contains(m, text) {
				return m
			}
		case <-timeout:
			t.Fatalf("no message with %q", text)
		}
	}
}

// TestNotify checks the notifications: READY and STATUS at the start, WATCHDOG while the daemon
// makes progress, STOPPING at the end. If the bus hangs, the daemon disconnects, goes on feeding
// the watchdog, and reconnects later. The interval is long enough that the bus of a busy machine
// does not seem to hang, which it does after a quarter of it.
func TestNotify(t *testing.T) {
	path, messages := notifySocket(t)
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	d := startDaemon(t, nstest.New(t), bus.Address(), []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=2000000"})
	ready := next(t, messages, "READY=1")
	if !strings.Contains(ready, "STATUS=Watching the veths") {
		t.Errorf("READY=1 comes with %q", ready)
	}
	next(t, messages, "WATCHDOG=1")
	next(t, messages, "WATCHDOG=1")

	bus.Stop()
	for deadline := time.Now().Add(patience); !strings.Contains(d.Err.String(), "the bus does not answer"); {
		if time.Now().After(deadline) {
			t.Fatalf("the daemon does not notice that the bus hangs:\n%s", &d.Err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for len(messages) > 0 {
		<-messages
	}
	next(t, messages, "WATCHDOG=1")
	next(t, messages, "WATCHDOG=1")
	bus.Cont()
	d.WaitForService(t)
	next(t, messages, "WATCHDOG=1")

	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	next(t, messages, "STOPPING=1")
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// TestSecondSignalKills kills a daemon whose clean stop is stuck.
func TestSecondSignalKills(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	d := startDaemon(t, nstest.New(t), bus.Address(), nil)
	bus.Stop()
	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	// The daemon needs a moment to handle the first signal.
	for ended := false; !ended; {
		select {
		case <-d.Ended:
			ended = true
		case <-time.After(10 * time.Millisecond):
			_ = d.Cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	if code := d.Wait(t); code != -1 {
		t.Errorf("exit status %d, want death by a signal", code)
	}
}

// TestBusHangsWhileStopping checks that a hung bus does not prevent a clean stop.
func TestBusHangsWhileStopping(t *testing.T) {
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	d := startDaemon(t, nstest.New(t), bus.Address(), nil)
	bus.Stop()
	must(t, d.Cmd.Process.Signal(syscall.SIGTERM))
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
