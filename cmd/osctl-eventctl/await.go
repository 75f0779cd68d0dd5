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

// hintTime is how long a wait lasts before it says that it may be in vain.
const hintTime = 3 * time.Second

// await waits until all conditions were met, and prints how.
func (a *app) await(ctx context.Context, conditions []condition, timeout time.Duration) error {
	bounded, cancel := boundTime(ctx, timeout)
	defer cancel()
	reached := make([]string, len(conditions))
	hinting, stop := context.WithCancel(bounded)
	hints := make(chan string, 1)
	go func() {
		select {
		case <-time.After(hintTime):
			hint := a.hint(hinting, conditions)
			if hint != "" {
				a.say("%s", hint)
			}
			hints <- hint
		case <-hinting.Done():
			hints <- ""
		}
	}()
	err := a.watchConditions(bounded, conditions, reached)
	stop()
	said := <-hints
	switch {
	case ctx.Err() != nil:
		return &exitError{status: exitInterrupted}
	case err != nil && expired(bounded):
		return a.timedOut(ctx, conditions, reached, timeout, said != "")
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

// boundTime returns a context that ends after a while, or never for 0.
func boundTime(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeout(ctx, timeout)
	}
	return context.WithCancel(ctx)
}

// expired reports whether the time of a context is over. A socket that has the same deadline may
// notice before the context does.
func expired(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return bounded && !time.Now().Before(deadline) || ctx.Err() != nil
}

// timedOut is the error of a wait that took too long.
func (a *app) timedOut(ctx context.Context, conditions []condition, reached []string, timeout time.Duration, hinted bool) error {
	var missed []condition
	var texts []string
	for i := range conditions {
		if reached[i] == "" {
			missed, texts = append(missed, conditions[i]), append(texts, conditions[i].String())
		}
	}
	text := fmt.Sprintf("%s within %v", strings.Join(texts, ", "), timeout)
	if !hinted {
		if hint := a.hint(ctx, missed); hint != "" {
			text += "\n" + hint
		}
	}
	return &exitError{exitTimeout, text}
}

// hint says why conditions may never be met: no state of a container is known, or the state is
// neither one of osctld nor that of any container. It returns "" if there is nothing to say, or if
// the service does not answer.
func (a *app) hint(ctx context.Context, conditions []condition) string {
	var rows []hub.Container
	err := a.call(ctx, func(ctx context.Context, c *client.Client) (err error) {
		rows, _, err = c.Containers(ctx, hub.Filter{})
		return err
	})
	if err != nil {
		return ""
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
			hints = append(hints, fmt.Sprintf("no state of %s is known: no cgroup of it was seen, and nothing was reported; see osctl-eventctl containers", c.target))
		}
		for _, state := range c.states {
			if !slices.Contains(known, state) {
				slices.Sort(known)
				hints = append(hints, fmt.Sprintf("%s is no state that is known; those are %s", state, strings.Join(slices.Compact(known), ", ")))
			}
		}
	}
	return strings.Join(hints, "\n")
}

// awaitEvent waits for an event, and prints it.
func (a *app) awaitEvent(ctx context.Context, flags *waitFlags, args []string) error {
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
	bounded, cancel := boundTime(ctx, time.Duration(flags.timeout))
	defer cancel()
	switch err = s.follow(bounded); {
	case errors.Is(err, errDone):
		return nil
	case ctx.Err() != nil:
		return &exitError{status: exitInterrupted}
	case expired(bounded):
		return &exitError{exitTimeout, fmt.Sprintf("no such event came within %v", time.Duration(flags.timeout))}
	}
	return err
}
