package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/cmd/internal/terminal"
	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// hintDelay is how long a wait lasts before it warns about conditions that may never be met.
const hintDelay = 3 * time.Second

// hintTimeout limits how long a wait that timed out looks for the reason.
const hintTimeout = 2 * time.Second

// waitForStates waits until each condition has been met, and prints the states.
func (a *app) waitForStates(ctx context.Context, conditions []condition, timeout time.Duration) error {
	bounded, cancel := withTimeout(ctx, timeout)
	defer cancel()
	reached := make([]string, len(conditions))
	hintCtx, stop := context.WithCancel(bounded)
	hints := make(chan string, 1)
	go func() {
		select {
		case <-time.After(hintDelay):
			hint, _ := a.findHint(hintCtx, conditions) // without an answer the wait reports that itself
			if hint != "" {
				a.warn("%s", hint)
			}
			hints <- hint
		case <-hintCtx.Done():
			hints <- ""
		}
	}()
	err := a.watchConditions(bounded, conditions, reached)
	stop()
	hint := <-hints
	switch {
	case ctx.Err() != nil:
		return &exitError{status: exitInterrupted}
	case err != nil && expired(bounded):
		return a.timeoutError(ctx, conditions, reached, timeout, hint != "")
	case err != nil:
		return err
	}
	for i := range conditions {
		line := terminal.Printable(reached[i])
		if len(conditions) > 1 {
			line = terminal.Printable(conditions[i].target.String()) + " " + line
		}
		if _, err := fmt.Fprintln(a.out, line); err != nil {
			return err
		}
	}
	return nil
}

// withTimeout returns a context with a timeout, or without one for 0.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeout(ctx, timeout)
	}
	return context.WithCancel(ctx)
}

// expired reports whether the deadline of a context has passed. A socket with the same deadline may
// fail before the context is done.
func expired(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return bounded && !time.Now().Before(deadline) || ctx.Err() != nil
}

// timeoutError returns the error of a wait that timed out.
func (a *app) timeoutError(ctx context.Context, conditions []condition, reached []string, timeout time.Duration, hinted bool) error {
	var missed []condition
	var texts []string
	for i := range conditions {
		if reached[i] == "" {
			missed, texts = append(missed, conditions[i]), append(texts, fmt.Sprintf("%s within %v", &conditions[i], timeout))
		}
	}
	text := strings.Join(texts, ", ")
	if !hinted {
		ctx, cancel := context.WithTimeout(ctx, hintTimeout)
		defer cancel()
		hint, err := a.findHint(ctx, missed)
		if err != nil {
			hint = client.Explain(err, a.bus)
		}
		text = strings.TrimSuffix(text+"\n"+hint, "\n")
	}
	return &exitError{exitTimeout, text}
}

// findHint explains why conditions may never be met: no state of the container is known, or neither
// osctld nor any container has the state. It returns "" if it finds no reason.
func (a *app) findHint(ctx context.Context, conditions []condition) (string, error) {
	var rows []hub.Container
	err := a.call(ctx, func(ctx context.Context, c *client.Client) (err error) {
		if _, err = c.Properties(ctx); err != nil { // the service was stopped, and a list would start it
			return err
		}
		rows, _, err = c.Containers(ctx, hub.Filter{})
		return err
	})
	if err != nil {
		return "", err
	}
	known := states()
	for _, row := range rows {
		known = append(known, row.State)
	}
	names := newNameTable(rows, nil)
	var hints []string
	for _, c := range conditions {
		if c.name != "" {
			continue
		}
		t, _ := c.resolve(names)
		if !slices.ContainsFunc(rows, func(row hub.Container) bool { return row.Pool == t.pool && row.ID == t.id && row.State != "" }) {
			hints = append(hints, fmt.Sprintf("no state of %s is known: the service has seen no cgroup and no report; see osctl-eventctl containers", c.target))
		}
		for _, state := range c.states {
			if !slices.Contains(known, state) {
				slices.Sort(known)
				hints = append(hints, fmt.Sprintf("unknown state %s; known are %s", state, strings.Join(slices.Compact(known), ", ")))
			}
		}
	}
	return strings.Join(hints, "\n"), nil
}

// waitForEvent waits for an event, and prints it.
func (a *app) waitForEvent(ctx context.Context, flags *waitFlags, args []string) error {
	now := time.Now()
	s, err := a.newStream(&monitorFlags{
		selection: selection{Filter: eventflags.Filter{Types: flags.types, Actions: flags.actions}}, since: flags.since, json: flags.json, count: 1,
	}, args, now)
	if err != nil {
		return err
	}
	if flags.byFlags {
		s.targets = append(s.targets, flags.target)
		if s.filter, err = s.selection.filter(); err != nil {
			return err
		}
	}
	bounded, cancel := withTimeout(ctx, time.Duration(flags.timeout))
	defer cancel()
	switch err = s.follow(bounded); {
	case errors.Is(err, errDone):
		return nil
	case ctx.Err() != nil:
		return &exitError{status: exitInterrupted}
	case expired(bounded):
		text := fmt.Sprintf("no such event within %v", time.Duration(flags.timeout))
		if s.epoch == "" {
			text += ": osctl-eventd did not answer"
		}
		return &exitError{exitTimeout, text}
	}
	return err
}
