package bustest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"
)

// startDaemon runs dbus-daemon and waits until it answers.
func (b *Bus) startDaemon() error {
	ready, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ready.Close() }()

	cmd := command("dbus-daemon", "--config-file="+configPath(b.dir),
		"--nofork", "--nopidfile", "--nosyslog", "--print-address=3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = b.group()
	cmd.Env = b.environment()
	b.proc, err = startProcess(cmd)
	_ = w.Close()
	if err != nil {
		return err
	}
	b.pid = cmd.Process.Pid

	// It prints the address when it listens, and closes the pipe when it dies.
	if err := ready.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		return fmt.Errorf("it gave no address: %w", err)
	}
	return b.awaitAnswer()
}

// awaitAnswer waits until a client could say Hello, that is, the bus answered its
// authentication, or until the bus died, which closes the connection. It does not
// say Hello, so as to leave the first unique names to the test.
func (b *Bus) awaitAnswer() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := dial(ctx, socketPath(b.dir), dialConfig{})
	if err != nil {
		return err
	}
	return conn.Close()
}
