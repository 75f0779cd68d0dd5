package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/hub"
)

const (
	// termTime is the time between SIGTERM and SIGKILL.
	termTime = 10 * time.Second
	// firstRetry and lastRetry bound the back-off between retries of a command.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// runner is the sink that runs a command for each event, or for each batch of events.
type runner struct {
	app      *app
	program  string
	args     []string      // with the name of the program
	batch    int           // events per command; 0 runs the command for one event, with its fields in the environment
	retries  int           // how often a failed command is repeated
	skip     bool          // continue with the next event after the last failure
	handover bool          // handle down events of handovers
	timeout  time.Duration // of a command, 0 for none

	epoch   string       // of the events
	pending []*hub.Event // not handled yet
}

// event adds an event, and runs the command once the batch is full.
func (r *runner) event(ctx context.Context, e *hub.Event, epoch string) (handled bool, err error) {
	if v, _ := e.Options.Get("handover"); v.Bool() && e.Type == hub.TypeNetif && e.Action == "down" && !r.handover {
		return false, nil
	}
	r.epoch, r.pending = epoch, append(r.pending, e)
	if len(r.pending) < r.batch {
		return false, nil
	}
	return true, r.flush(ctx)
}

// flush runs the command for the pending events until it succeeds or the retries are used up.
func (r *runner) flush(ctx context.Context) error {
	if len(r.pending) == 0 {
		return nil
	}
	pause := firstRetry
	for retries := r.retries; ; retries-- {
		err := r.runCommand(ctx)
		switch {
		case err == nil:
			r.pending = r.pending[:0]
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case retries == 0:
			return r.giveUp(err)
		}
		r.app.warn("the command failed for %s: %v; retrying in %v", r.formatPending(), err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastRetry)
	}
}

// giveUp skips the pending events, or ends the run.
func (r *runner) giveUp(err error) error {
	if !r.skip {
		return &exitError{exitCommandFailed, fmt.Sprintf("the command failed for %s: %v", r.formatPending(), err)}
	}
	r.app.warn("the command failed for %s: %v; skipped", r.formatPending(), err)
	r.pending = r.pending[:0]
	r.app.commandFailed.Store(true)
	return nil
}

// formatPending names the pending events.
func (r *runner) formatPending() string {
	first, last := r.pending[0].Seq, r.pending[len(r.pending)-1].Seq
	if first == last {
		return fmt.Sprintf("event %d", first)
	}
	return fmt.Sprintf("%s from %d to %d", formatCount(len(r.pending)), first, last)
}

// runCommand runs the command once for the pending events.
func (r *runner) runCommand(ctx context.Context) error {
	stdin, err := r.writeInput(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stdin.Close() }()
	bounded, cancel := ctx, context.CancelFunc(func() {})
	if r.timeout > 0 {
		bounded, cancel = context.WithTimeout(ctx, r.timeout)
	}
	defer cancel()
	cmd := exec.CommandContext(bounded, r.program) //nolint:gosec // the user's command
	cmd.Args, cmd.Env = r.args, append(inheritedEnv(), r.environment()...)
	// All three are files, so that no pipe can block or needs to be drained.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, r.app.out.File, r.app.err.File
	// The command has its own process group, so that SIGTERM reaches its children as well. Pdeathsig
	// kills the command if run is killed, because the next run handles the same event. It applies to
	// the thread that started the command, so that thread is locked.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = termTime
	err = cmd.Run()
	if bounded.Err() != nil && cmd.Process != nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // the rest of the group
	}
	switch {
	case cmd.ProcessState != nil && cmd.ProcessState.Success():
		return nil // even if it succeeded only after SIGTERM
	case bounded.Err() != nil:
		return fmt.Errorf("it did not end within %v", r.timeout)
	}
	return err
}

// writeInput returns an anonymous file with the pending events.
func (r *runner) writeInput(ctx context.Context) (*os.File, error) {
	fd, err := unix.MemfdCreate("events", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file for the events: %w", err)
	}
	file := os.NewFile(uintptr(fd), "events")
	p := newPrinter(&terminal.Output{File: file}, true, time.Time{})
	for _, e := range r.pending {
		if _, err = p.event(ctx, e, r.epoch); err != nil {
			break
		}
	}
	err = errors.Join(err, p.flush(ctx))
	if _, seekErr := file.Seek(0, io.SeekStart); err != nil || seekErr != nil {
		return nil, errors.Join(err, seekErr, file.Close())
	}
	return file, nil
}

// environment returns the variables for the pending events. Their values are strings of the event. So they
// contain no NUL, and fit the kernel's limit of 128 KiB, because an event has at most 64 KiB.
func (r *runner) environment() []string {
	last := r.pending[len(r.pending)-1]
	cursor := "EVENT_CURSOR=" + hub.FormatCursor(r.epoch, last.Seq)
	if r.batch > 0 {
		return []string{cursor, "EVENT_COUNT=" + strconv.Itoa(len(r.pending))}
	}
	return []string{
		cursor, "EVENT_TYPE=" + last.Type, "EVENT_ACTION=" + last.Action, "EVENT_SOURCE=" + last.Source,
		"EVENT_POOL=" + last.Pool, "EVENT_ID=" + last.ID,
		"EVENT_NAME=" + last.Options.Text("name"), "EVENT_VETH=" + last.Options.Text("veth"),
		"EVENT_SEQ=" + strconv.FormatUint(last.Seq, 10), "EVENT_TIME=" + last.Time.UTC().Format(eventTime),
	}
}

// inheritedEnv returns our own environment without the variables of an outer run.
func inheritedEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "EVENT_") })
}
