package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/osctl/eventd/cmd/internal/eventflags"
	"github.com/osctl/eventd/hub"
)

// durationFlag is a flag value that [eventflags.ParseDuration] parses.
type durationFlag time.Duration

func (d *durationFlag) Type() string { return "duration" }

func (d *durationFlag) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Set implements pflag.Value.
func (d *durationFlag) Set(text string) error {
	parsed, err := eventflags.ParseDuration(text)
	if err != nil {
		return errors.New("expected a duration like 30s, 5m or 1d")
	}
	*d = durationFlag(parsed)
	return nil
}

// countFlag is a flag value: a number of events, 0 if the flag is not given.
type countFlag int

func (c *countFlag) Type() string { return "count" }

func (c *countFlag) String() string {
	if *c == 0 {
		return ""
	}
	return strconv.Itoa(int(*c))
}

// Set implements pflag.Value.
func (c *countFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > hub.MaxHistory {
		return fmt.Errorf("expected 1 to %d events", hub.MaxHistory)
	}
	*c = countFlag(n)
	return nil
}

// flagError says what a flag expects, and points to the help of the command.
func flagError(cmd *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = invalid.Unwrap()
		if number, ok := errors.AsType[*strconv.NumError](err); ok {
			err = fmt.Errorf("expected a number from 0 to %d", math.MaxUint16)
			if number.Func == "ParseBool" {
				err = errors.New("expected true or false")
			}
		}
		err = fmt.Errorf("--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), err)
	}
	return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
}

// refuseEmpty refuses a flag with an empty value, which a script passes if its variable is unset.
// Flags that select events or rows are of another type, and may be empty.
func refuseEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && f.Name != "bus" {
			err = fmt.Errorf("--%s is empty", f.Name)
		}
	})
	return err
}

// markExclusive makes a command refuse two flags together. MarkFlagsMutuallyExclusive would do that
// with a less clear message, but completion needs it.
func markExclusive(cmd *cobra.Command, one, other string) {
	cmd.MarkFlagsMutuallyExclusive(one, other)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed(one) && cmd.Flags().Changed(other) {
			return fmt.Errorf("--%s and --%s: expected one of them, not both", one, other)
		}
		return nil
	}
}

// checkChoice checks the values of a flag against a list.
func checkChoice(flag string, values []string, known ...string) error {
	for _, value := range values {
		if !slices.Contains(known, value) {
			return fmt.Errorf("--%s %q: expected %s", flag, value, strings.Join(known, ", "))
		}
	}
	return nil
}

// formatCount formats a number of events.
func formatCount[N int | uint64](n N) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}
