package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/cmd/internal/eventflags"
)

const waitLong = `Wait until a container reaches one of the given states, or until an interface,
with its name inside the container, is up, down or gone. Print the state that
was reached.

An argument with a colon is a container or an interface, any other argument is
a state. States belong to the containers and interfaces before them: tank:1
tank:2 running, or tank:1 running tank:2/eth0 up. wait ends when each of them
has reached one of its states, not necessarily at the same time.

` + nameHelp + `

The current state counts, so there is no race: if it is one of the given
states, wait ends at once. A state that lasts only a moment counts as well. The
container or the interface need not exist yet. wait survives restarts of the
service and of the bus, and reports them on stderr.

An interface is up when both of its ends are set up; otherwise it is down. If
it does not exist, it is down and gone. An interface that passes to another
container (handover) keeps working, so it does not count as down.

The service itself sees the states running, frozen and stopped. It accepts any
state that a manager of containers reports; those of osctld are staged,
starting, running, stopping, stopped, aborting, freezing, frozen, thawed and
error. If the service knows no state of a container, wait says so after a few
seconds.

With --type or --action the command waits for the next such event of any of the
given containers and interfaces, handovers included, and prints it as monitor
does. With --since it also accepts an earlier event, from MOMENT on.

If the id has a slash, use --pool and --id in place of the first argument;
--name adds an interface.

Exit status: 0 if the states were reached or the event came; 3 if --timeout
expired; 1 on an error; 130 when interrupted.`

// waitFlags are the flags of wait, as given.
type waitFlags struct {
	target
	byFlags        bool // flags name the target
	timeout        durationFlag
	types, actions []string
	since          string
	json           bool
}

func (a *app) wait() *cobra.Command {
	var flags waitFlags
	cmd := &cobra.Command{
		Use:   "wait {POOL:ID... STATE... | POOL:ID/INTERFACE... up|down|gone}... | --type TYPE [POOL:ID]...",
		Short: "Wait for a state of containers or interfaces, or for an event",
		Long:  waitLong,
		Example: `  osctl-eventctl wait tank:101 running --timeout 30s
  osctl-eventctl wait tank:101 stopped error
  osctl-eventctl wait tank:101 tank:102 running && backup
  osctl-eventctl wait tank:101/eth0 up && ssh root@ct101
  osctl-eventctl wait --type backup_done tank:101
  osctl-eventctl wait --pool tank --id a/b --name eth0 up`,
		ValidArgsFunction: a.completeWait,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := cmd.Flags()
			flags.byFlags = f.Changed("pool") || f.Changed("id") || f.Changed("name")
			if flags.byFlags && (flags.pool == "" || flags.id == "") {
				return errors.New("--pool and --id together name a container; --name adds an interface")
			}
			if len(flags.types) > 0 || len(flags.actions) > 0 {
				return a.waitForEvent(cmd.Context(), &flags, args)
			}
			if flags.since != "" || flags.json {
				return errors.New("--since and --json need --type or --action")
			}
			conditions, err := flags.parse(args)
			if err != nil {
				return err
			}
			return a.waitForStates(cmd.Context(), conditions, time.Duration(flags.timeout))
		},
	}
	f := cmd.Flags()
	f.Var(&flags.timeout, "timeout", "give up after `DURATION`, like 30s, 5m or 1d; 0 waits for ever")
	f.StringVar(&flags.pool, "pool", "", "wait for a container of this `POOL`, in place of the first argument; needs --id")
	f.StringVar(&flags.id, "id", "", "wait for the container with this `ID`; needs --pool")
	f.StringVar(&flags.name, "name", "", "wait for the interface with this `NAME` inside; needs --pool and --id")
	f.StringArrayVar(&flags.types, "type", nil, "wait for an event of this `TYPE`, or of one of several types separated by commas")
	f.StringArrayVar(&flags.actions, "action", nil, "wait for an event with this `ACTION`")
	f.StringVar(&flags.since, "since", "", "accept events since `MOMENT`: "+eventflags.MomentForms)
	f.BoolVar(&flags.json, "json", false, "print the event as one JSON object")
	a.completeFlags(cmd)
	return cmd
}

// condition is a target with the states to wait for.
type condition struct {
	target
	states []string
	// up has the ifindexes of the target's interfaces that are up, including those that passed to another
	// container.
	up map[uint32]bool
}

func (c *condition) String() string {
	return c.target.String() + " was not " + strings.Join(c.states, " or ")
}

// maxConditions limits the conditions that each event is checked against.
const maxConditions = 64

// parse parses targets, each group followed by its states. It ignores --, because colons already
// separate targets from states.
func (f *waitFlags) parse(args []string) (conditions []condition, err error) {
	if f.byFlags {
		conditions = append(conditions, condition{target: f.target})
	}
	first, states := 0, []string(nil) // the present group: targets from first on, and its states
	endGroup := func() error {
		for i := range conditions[first:] {
			conditions[first+i].states = states
			if err := f.checkCondition(&conditions[first+i]); err != nil {
				return err
			}
		}
		first, states = len(conditions), nil
		return nil
	}
	for _, arg := range args {
		switch {
		case arg == "--":
		case strings.Contains(arg, ":"):
			if len(states) > 0 {
				if err := endGroup(); err != nil {
					return nil, err
				}
			}
			t, err := parseTarget(arg)
			if err != nil {
				return nil, err
			}
			conditions = append(conditions, condition{target: t})
		case strings.HasPrefix(arg, "-"):
			return nil, fmt.Errorf("%q: expected a state; flags come before --", arg)
		case len(conditions) == 0:
			_, err := parseTarget(arg)
			return nil, err
		case arg == "": // a script passes it if its variable is unset
			return nil, fmt.Errorf("a state of %s is empty: expected one, like running or up", conditions[len(conditions)-1].target)
		default:
			states = append(states, arg)
		}
	}
	switch {
	case len(conditions) == 0:
		return nil, errors.New("wait for what? Expected POOL:ID and a state, like tank:101 running, or POOL:ID/INTERFACE and up, down or gone")
	case len(conditions) > maxConditions:
		return nil, fmt.Errorf("wait for %d containers and interfaces: expected at most %d", len(conditions), maxConditions)
	}
	return conditions, endGroup()
}

// checkCondition checks the states of a condition.
func (f *waitFlags) checkCondition(c *condition) (err error) {
	if c.pool == podPool && !f.byFlags && len(c.states) > 0 && !slices.Contains(linkConditions(), c.states[0]) && c.name != "" {
		c.id, c.name = c.id+"/"+c.name, ""
	}
	switch {
	case c.name == "" && len(c.states) == 0:
		return fmt.Errorf("which state of %s? Expected one or more, like running", c.target)
	case c.name == "" && slices.Contains(linkConditions(), c.states[0]):
		return fmt.Errorf("%s is a state of interfaces: expected one, like %s/eth0, or a state of the container, like running", c.states[0], c.target)
	case c.name != "" && (len(c.states) != 1 || !slices.Contains(linkConditions(), c.states[0])):
		err = fmt.Errorf("which state of the interface %s? Expected up, down or gone", c.target)
		if !f.byFlags {
			err = fmt.Errorf("%w; %s", err, slashHint)
		}
	}
	return err
}

// podPool is the pool of Kubernetes pods. Their names have a slash: k8s:default/web is a pod, and
// k8s:default/web/eth0 its interface.
const podPool = "k8s"

// linkConditions returns the states of an interface that wait accepts.
func linkConditions() []string { return []string{"up", "down", "gone"} }
