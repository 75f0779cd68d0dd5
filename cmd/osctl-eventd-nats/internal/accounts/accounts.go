// Package accounts writes the part of a NATS server's configuration that a fleet needs.
//
// The stream lies in an account of its own, FLEET. Hosts are users of another one, HOSTS, which
// imports from it what a bridge needs: to publish on its own subject, and to read the last message
// there. Were they in one account, a host could have the server's answers stored as messages of
// another host, because no permission applies to the reply subject of a request.
package accounts

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

// Users of the account FLEET.
const (
	Admin = "fleet-admin" // may do everything with the stream
	Watch = "fleet-watch" // may read it
)

// Fleet says what to configure.
type Fleet struct {
	Stream   string
	Hosts    []string
	Replicas int
	MaxAge   time.Duration
	MaxBytes int64
}

// Check refuses what cannot be configured.
func (f *Fleet) Check() error {
	if err := fleet.CheckStream(f.Stream); err != nil {
		return err
	}
	for i, host := range f.Hosts {
		if err := fleet.CheckHost(host); err != nil {
			return err
		}
		switch {
		case host == Admin || host == Watch:
			return fmt.Errorf("host %q: this name is taken", host)
		case slices.Contains(f.Hosts[:i], host):
			return fmt.Errorf("host %q is named twice", host)
		}
	}
	return nil
}

// Write writes accounts.conf and stream.json into a directory, and for each user a directory with
// its password. It keeps the passwords that are there, so it can be repeated with more hosts.
func (f *Fleet) Write(dir string) error {
	config, err := f.config(func(user string) (string, error) { return hash(filepath.Join(dir, user)) })
	if err != nil {
		return err
	}
	stream, err := f.streamConfig()
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"accounts.conf": []byte(config), "stream.json": stream} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// hash returns the hash of the password in a user's directory, which is made where it is missing.
// The cheapest cost is enough: the password is random, and a server with thousands of hosts checks
// thousands of them at once.
func hash(dir string) (string, error) {
	path := filepath.Join(dir, "password")
	password, err := os.ReadFile(path) //nolint:gosec // below the directory of the user's choice
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		password = []byte(rand.Text() + "\n")
		err = os.WriteFile(path, password, 0o600)
	}
	if err != nil {
		return "", err
	}
	hashed, err := bcrypt.GenerateFromPassword([]byte(strings.TrimRight(string(password), "\r\n")), bcrypt.MinCost)
	return string(hashed), err
}

// config returns accounts.conf.
func (f *Fleet) config(hash func(user string) (string, error)) (string, error) {
	var b strings.Builder
	head := fleet.HeadPrefix(f.Stream)
	user := func(name string, publish, subscribe []string) error {
		hashed, err := hash(name)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(&b, "\t\t{ user: %q, password: %q", name, hashed)
		if publish != nil {
			const form = ", permissions: {\n\t\t\tpublish: [ %s ]\n\t\t\tsubscribe: [ %s ]\n\t\t}"
			_, _ = fmt.Fprintf(&b, form, list(publish), list(subscribe))
		}
		b.WriteString(" }\n")
		return nil
	}
	_, _ = fmt.Fprintf(&b, `# Made by osctl-eventd-nats setup. Include it in the configuration of each server of the fleet.
accounts {
	FLEET {
		jetstream: enabled
		exports: [ { service: %q }, { service: %q } ]
		users: [
`, fleet.Subjects, head+fleet.Subjects)
	if err := user(Admin, nil, nil); err != nil {
		return "", err
	}
	var reading []string
	for _, request := range []string{
		"STREAM.INFO.*", "DIRECT.GET.*.>", "CONSUMER.CREATE.*.>", "CONSUMER.INFO.*.*", "CONSUMER.MSG.NEXT.*.*",
		"CONSUMER.DELETE.*.*",
	} {
		reading = append(reading, "$JS.API."+strings.Replace(request, "*", f.Stream, 1))
	}
	if err := user(Watch, append(reading, "$JS.API.INFO"), []string{fleet.Inbox(Watch) + ".>"}); err != nil {
		return "", err
	}
	_, _ = fmt.Fprintf(&b, `		]
	}
	HOSTS {
		imports: [
			{ service: { account: FLEET, subject: %q } }
			{ service: { account: FLEET, subject: %q } }
		]
		users: [
`, fleet.Subjects, head+fleet.Subjects)
	for _, host := range f.Hosts {
		own := []string{fleet.Subject(host), fleet.HeadSubject(f.Stream, host)}
		if err := user(host, own, []string{fleet.Inbox(host) + ".>"}); err != nil {
			return "", err
		}
	}
	b.WriteString("\t\t]\n\t}\n}\n")
	return b.String(), nil
}

// streamConfig returns stream.json, as nats stream add --config takes it. A bound for each subject
// keeps a noisy host from pushing out the events of a quiet one.
func (f *Fleet) streamConfig() ([]byte, error) {
	const eventsOfOneHost = 100_000
	text, err := json.MarshalIndent(map[string]any{
		"name": f.Stream, "subjects": []string{fleet.Subjects}, "storage": "file", "num_replicas": f.Replicas,
		"retention": "limits", "max_age": f.MaxAge.Nanoseconds(), "max_bytes": f.MaxBytes,
		"max_msgs_per_subject": eventsOfOneHost, "max_msg_size": 1 << 20, "discard": "old",
		"duplicate_window": min(2*time.Minute, f.MaxAge).Nanoseconds(), "allow_direct": true, "deny_delete": true,
		"deny_purge": false,
	}, "", "  ")
	return append(text, '\n'), err
}

func list(subjects []string) string { return `"` + strings.Join(subjects, `", "`) + `"` }
