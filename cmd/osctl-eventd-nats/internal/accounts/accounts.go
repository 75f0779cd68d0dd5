// Package accounts writes the configuration of the NATS accounts of a fleet.
//
// The stream is in the account FLEET. Hosts are users of the account HOSTS, which imports only what a
// bridge needs: to publish on its own subject, and to read the last message there. In one account a
// host could make the server store replies as messages of another host, because no permission
// applies to the reply subject of a request.
package accounts

import (
	"bytes"
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

// Fleet is the fleet to configure.
type Fleet struct {
	Stream   string
	Hosts    []string
	Replicas int
	MaxAge   time.Duration
	MaxBytes int64
}

// Check checks the names of the stream and of the hosts.
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
			return fmt.Errorf("host %q: the name is reserved", host)
		case slices.Contains(f.Hosts[:i], host):
			return fmt.Errorf("host %q is named twice", host)
		}
	}
	return nil
}

// Write writes accounts.conf and stream.json into a directory, and a directory with a password for
// each user. It keeps existing passwords, so it can be repeated with more hosts.
func (f *Fleet) Write(dir string) error {
	config, err := f.config(func(user string) (string, error) { return hashPassword(filepath.Join(dir, user)) })
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

// hashPassword returns the hash of the password in a user's directory, and creates a missing password.
// The lowest cost is enough, because the password is random and a server may check thousands at once.
func hashPassword(dir string) (string, error) {
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
	password = bytes.TrimRight(password, "\r\n")
	if len(password) == 0 { // a full disk leaves an empty file
		return "", fmt.Errorf("%s is empty; remove it to get another password", path)
	}
	hashed, err := bcrypt.GenerateFromPassword(password, bcrypt.MinCost)
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
			_, _ = fmt.Fprintf(&b, form, quoteList(publish), quoteList(subscribe))
		}
		b.WriteString(" }\n")
		return nil
	}
	_, _ = fmt.Fprintf(&b, `# Written by osctl-eventd-nats setup. Include this file in the configuration of each NATS server.
accounts {
	FLEET {
		jetstream: enabled
		exports: [ { service: %q }, { service: %q } ]
		users: [
`, fleet.Subjects, head+fleet.Subjects)
	if err := user(Admin, nil, nil); err != nil {
		return "", err
	}
	var readRequests []string
	for _, request := range []string{
		"STREAM.INFO.*", "CONSUMER.CREATE.*.>", "CONSUMER.INFO.*.*", "CONSUMER.MSG.NEXT.*.*", "CONSUMER.DELETE.*.*",
	} {
		readRequests = append(readRequests, "$JS.API."+strings.Replace(request, "*", f.Stream, 1))
	}
	if err := user(Watch, append(readRequests, "$JS.API.INFO"), []string{fleet.Inbox(Watch) + ".>"}); err != nil {
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

// streamConfig returns stream.json for nats stream add --config. The limit for each subject keeps a
// host with many events from pushing out those of others. NATS has no such limit for bytes.
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

func quoteList(subjects []string) string { return `"` + strings.Join(subjects, `", "`) + `"` }
