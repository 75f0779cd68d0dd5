package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

const (
	// stateNone keeps events in memory only.
	stateNone = "none"
	// bootVariable holds the boot ID where /proc/sys is hidden, as it is in our unit.
	bootVariable = "OSCTL_EVENTD_BOOT_ID"
)

// openLog opens the log that opts select, nil for none.
func openLog(ctx context.Context, opts options, boot string, log *slog.Logger) (hub.Log, error) {
	if opts.stateDir == stateNone {
		return nil, nil //nolint:nilnil // the hub takes none for none
	}
	return eventlog.Open(ctx, eventlog.Config{
		Dir: opts.stateDir, MaxBytes: int64(opts.logSize), MaxEvents: opts.history, Boot: boot, Logger: log,
	})
}

// bootID returns the ID of this boot of the machine, see random(4). If the ID is unknown, each
// start of the service counts as a new boot.
func bootID(log *slog.Logger) string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil {
		return strings.ReplaceAll(strings.TrimSpace(string(id)), "-", "")
	}
	if id := os.Getenv(bootVariable); id != "" {
		return strings.ReplaceAll(id, "-", "")
	}
	log.Warn("the boot ID is unknown: cursors become invalid when the service stops", errorAttr(err))
	return hub.NewEpoch()
}

// byteSize is a flag value: a number of bytes, with an optional suffix K, M or G for powers of 1024.
type byteSize int64

// Set implements pflag.Value.
func (s *byteSize) Set(text string) error {
	digits, shift := text, 0
	for i, unit := range []string{"K", "M", "G"} {
		if cut, ok := strings.CutSuffix(strings.ToUpper(text), unit); ok {
			digits, shift = cut, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > eventlog.MaxMaxBytes || n<<shift < eventlog.MinMaxBytes || n<<shift > eventlog.MaxMaxBytes {
		return fmt.Errorf("expected %v to %v bytes, as in 32M", byteSize(eventlog.MinMaxBytes), byteSize(eventlog.MaxMaxBytes))
	}
	*s = byteSize(n << shift)
	return nil
}

// String implements pflag.Value.
func (s byteSize) String() string {
	for shift, unit := 30, "GMK"; unit != ""; shift, unit = shift-10, unit[1:] {
		if s != 0 && s&(1<<shift-1) == 0 {
			return strconv.FormatInt(int64(s)>>shift, 10) + unit[:1]
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Type implements pflag.Value.
func (byteSize) Type() string { return "SIZE" }
