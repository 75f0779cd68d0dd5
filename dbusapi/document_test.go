package dbusapi

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// dbusPage returns a section of packaging/doc/dbus.md; "" is the part before the first one.
func dbusPage(t *testing.T, section string) string {
	t.Helper()
	text, err := os.ReadFile("../packaging/doc/dbus.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if section != "" {
		_, page, _ = strings.Cut(page, "\n## "+section+"\n")
	}
	page, _, _ = strings.Cut(page, "\n## ")
	if page == "" {
		t.Fatalf("dbus.md has no section %s", section)
	}
	return page
}

// dbus.md has the methods and signals of the XML.
func TestPageHasMembers(t *testing.T) {
	listed := regexp.MustCompile(`(?m)^    \w.*\(.*\).*$`).FindAllString(dbusPage(t, ""), -1)
	i := theInterface(t)
	for n, m := range slices.Concat(i.Signals, i.Methods) {
		var in, out []string
		for _, a := range m.Args {
			if a.Direction == "out" {
				out = append(out, a.Type+" "+a.Name)
			} else {
				in = append(in, a.Type+" "+a.Name)
			}
		}
		want := "    " + m.Name + "(" + strings.Join(in, ", ") + ")"
		if n < len(i.Signals) {
			want = "    signal " + want[4:]
		}
		if len(out) > 0 {
			want += " -> (" + strings.Join(out, ", ") + ")"
		}
		if !slices.Contains(listed, want) {
			t.Errorf("dbus.md lacks\n%s", want)
		}
	}
	if want := len(i.Signals) + len(i.Methods); len(listed) != want {
		t.Errorf("dbus.md has %d members, want %d", len(listed), want)
	}
}

// dbus.md has the errors of the XML. It may have more standard errors of D-Bus.
func TestPageHasErrors(t *testing.T) {
	documented := documentedErrors()
	section := dbusPage(t, "Errors")
	for _, name := range documented {
		if !strings.Contains(section, "\n| `"+name+"`") {
			t.Errorf("dbus.md lacks %s", name)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(org\\.osctl\\.[^`]+)`").FindAllStringSubmatch(section, -1) {
		if !slices.Contains(documented, row[1]) {
			t.Errorf("the XML lacks %s", row[1])
		}
	}
}

// documentedErrors returns the errors that the XML must have.
func documentedErrors() []string {
	return []string{
		wire.ErrInvalidEvent, wire.ErrInvalidFilter, wire.ErrInvalidCursor, wire.ErrGone, wire.ErrTooLarge,
		wire.ErrLimitsExceeded, wire.ErrShuttingDown, wire.ErrInvalidArgs, wire.ErrAccessDenied,
		wire.ErrTimeout, wire.ErrUnknownMethod,
	}
}

// dbus.md has the limits of the code.
func TestPageHasLimits(t *testing.T) {
	count := func(n int) string {
		if n < 1000 {
			return fmt.Sprint(n)
		}
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	size := func(n int) string {
		if n%(1<<20) == 0 {
			return fmt.Sprintf("%d MiB", n>>20)
		}
		return fmt.Sprintf("%d KiB", n>>10)
	}
	limits := dbusPage(t, "Limits")
	for _, row := range []string{
		fmt.Sprintf("one event | %s encoded, %d options, %d nested containers", size(wire.MaxEvent), hub.MaxOptions, hub.MaxNesting),
		fmt.Sprintf("one batch | %s events, %s", count(wire.MaxEvents), size(wire.MaxBatchBytes)),
		fmt.Sprintf("one filter | %d values; the whole call %s", hub.MaxFilterValues, size(maxWaitBytes)),
		fmt.Sprintf("one reply of `WaitEvents` | %s events, %s", count(wire.MaxEvents), size(maxReplyBytes)),
		"pending `WaitEvents` of a connection | " + count(wire.MaxWaits),
		"pending `WaitEvents` of a user other than root | " + count(maxWaitsPerUser),
		"pending `WaitEvents` of all users other than root | " + count(maxWaitsInAll),
		"pending `WaitEvents` of root | " + count(maxWaitsInAll),
	} {
		if !strings.Contains(limits, "\n| "+row+" |\n") {
			t.Errorf("dbus.md lacks the row %q", row)
		}
	}
	if want := fmt.Sprintf("up to `timeout_msec` (%s at most)", count(wire.MaxTimeout)); !strings.Contains(dbusPage(t, "Signals, or WaitEvents"), want) {
		t.Errorf("dbus.md lacks %q", want)
	}
}
