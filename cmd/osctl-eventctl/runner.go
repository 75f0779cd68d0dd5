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

	"github.com/osctl/eventd/cmd/internal/line"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/hub"
)

const (
	// termTime is how long a command has to end after SIGTERM, before SIGKILL.
	termTime = 10 * time.Second
	// firstRetry and lastRetry bound the back-off before a command is run again.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// runner is the sink that runs a command for each event, or for each batch of events.
type runner struct {
	app      *app
	program  string
	args     []string      // with the name of the program
	batch    int           // how many events a command gets at most; 0 for one, and its fields
	retries  int           // how often a command that failed is run again
	skip     bool          // then go on with the next event
	handover bool          // down events that only tell of another owner are wanted
	timeout  time.Duration // of a command, 0 for none

	epoch   string       // of the events
	pending []*hub.Event // not handled yet
}

// event runs the command once a batch is full.
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

// flush runs the command for the pending events, as often as it takes.
func (r *runner) flush(ctx context.Context) error {
	if len(r.pending) == 0 {
		return nil
	}
	pause := firstRetry
	for retries := r.retries; ; retries-- {
		err := r.command(ctx)
		switch {
		case err == nil:
			r.pending = r.pending[:0]
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case retries == 0:
			return r.fail(err)
		}
		r.app.say("the command failed for %s: %v; running it again in %v", r.which(), err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastRetry)
	}
}

// fail gives the pending events up, or the run.
func (r *runner) fail(err error) error {
	if !r.skip {
		return &exitError{exitUndone, fmt.Sprintf("the command failed for %s: %v", r.which(), err)}
	}
	r.app.say("the command failed for %s: %v; skipped", r.which(), err)
	r.pending = r.pending[:0]
	r.app.undone.Store(true)
	return nil
}

// which names the pending events.
func (r *runner) which() string {
	first, last := r.pending[0].Seq, r.pending[len(r.pending)-1].Seq
	if first == last {
		return fmt.Sprintf("event %d", first)
	}
	return fmt.Sprintf("%s from %d to %d", eventCount(len(r.pending)), first, last)
}

// command runs the command once for the pending events.
func (r *runner) command(ctx context.Context) error {
	stdin, err := r.input(ctx)
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
	cmd.Args, cmd.Env = r.args, append(inherited(), r.environment()...)
	// These are files, so that no pipe to the command can block, or has to be drained.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, r.app.out.File, r.app.err.File
	// The command has a process group of its own, so that SIGTERM reaches its children, too. It
	// gets SIGKILL when the thread ends that started it, which is therefore kept until then:
	// the next run would handle the same event beside it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = termTime
	err = cmd.Run()
	if bounded.Err() != nil && cmd.Process != nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // what is left of the group
	}
	switch {
	case cmd.ProcessState != nil && cmd.ProcessState.Success():
		return nil // even if it ended just after it was told to
	case bounded.Err() != nil:
		return fmt.Errorf("it did not end within %v", r.timeout)
	}
	return err
}

// input returns a file without a name that holds the pending events.
func (r *runner) input(ctx context.Context) (*os.File, error) {
	fd, err := unix.MemfdCreate("events", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for the events: %w", err)
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

// environment returns the variables that tell of the pending events. Their names are ours.
// Values have no NUL, and are within the kernel's limit, because an event has at most 64 KiB.
func (r *runner) environment() []string {
	last := r.pending[len(r.pending)-1]
	cursor := "EVENT_CURSOR=" + hub.FormatCursor(r.epoch, last.Seq)
	if r.batch > 0 {
		return []string{cursor, "EVENT_COUNT=" + strconv.Itoa(len(r.pending))}
	}
	return []string{
		cursor, "EVENT_TYPE=" + last.Type, "EVENT_ACTION=" + last.Action, "EVENT_SOURCE=" + last.Source,
		"EVENT_POOL=" + line.Field(last, "pool"), "EVENT_ID=" + line.Field(last, "id"),
		"EVENT_NAME=" + line.Field(last, "name"), "EVENT_VETH=" + line.Field(last, "veth"),
		"EVENT_SEQ=" + strconv.FormatUint(last.Seq, 10), "EVENT_TIME=" + last.Time.UTC().Format(eventTime),
	}
}

// inherited returns our own environment, without what another run may have told of its event.
func inherited() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "EVENT_") })
}
