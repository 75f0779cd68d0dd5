package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Access says how to reach a NATS server.
type Access struct {
	Servers string // comma-separated URLs; tls:// demands TLS, nats:// uses it if the server offers it
	User    string // with a password; "" for none
	// Dir has the secrets in files: creds (of a JWT user), password (of User), ca.pem, cert.pem and
	// key.pem. Each is optional. "" for none.
	Dir string
	// Prefix is the prefix of the file names, as systemd adds it to credentials.
	Prefix string
}

// connect connects to a server. name identifies the client to the server; inbox is the prefix of its
// inboxes.
func (a *Access) connect(name, inbox string, more ...nats.Option) (*nats.Conn, error) {
	options, err := a.options()
	if err != nil {
		return nil, err
	}
	options = append(options, nats.Name(name), nats.CustomInboxPrefix(inbox), nats.Timeout(dialTimeout),
		nats.PingInterval(20*time.Second), nats.MaxPingsOutstanding(2))
	conn, err := nats.Connect(a.Servers, append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.Servers, err)
	}
	return conn, nil
}

// options returns the options with the secrets. It reads the files each time, so that they may be
// replaced.
func (a *Access) options() ([]nats.Option, error) {
	var options []nats.Option
	for name, use := range map[string]func(path string) nats.Option{
		"creds":  func(path string) nats.Option { return nats.UserCredentials(path) },
		"ca.pem": func(path string) nats.Option { return nats.RootCAs(path) },
	} {
		if path := a.file(name); path != "" {
			options = append(options, use(path))
		}
	}
	if cert, key := a.file("cert.pem"), a.file("key.pem"); cert != "" && key != "" {
		options = append(options, nats.ClientCert(cert, key))
	}
	if a.User == "" {
		return options, nil
	}
	path := a.file("password")
	if path == "" {
		return nil, fmt.Errorf("user %s: no file password in %q", a.User, a.Dir)
	}
	password, err := os.ReadFile(path) //nolint:gosec // named by the administrator
	if err != nil {
		return nil, err
	}
	return append(options, nats.UserInfo(a.User, strings.TrimRight(string(password), "\r\n"))), nil
}

// file returns the path of a secret, "" if there is none.
func (a *Access) file(name string) string {
	if a.Dir == "" {
		return ""
	}
	path := filepath.Join(a.Dir, a.Prefix+name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Check checks the URLs. Its error shows no password.
func (a *Access) Check() error {
	if strings.Contains(a.Servers, "@") {
		return errors.New("expected URLs without a user and a password, because everybody can see a URL; put the password into a file")
	}
	for server := range strings.SplitSeq(a.Servers, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		switch {
		case err != nil:
			return fmt.Errorf("server %q: expected a URL like tls://nats.example.org:4222", server)
		case u.Scheme != "nats" && u.Scheme != "tls", u.Hostname() == "":
			return fmt.Errorf("server %q: expected nats://HOST[:PORT] or tls://HOST[:PORT]", server)
		case a.User != "" && u.Scheme == "nats" && !loopback(u.Hostname()):
			return fmt.Errorf("server %q: the password would be sent in the clear; expected tls://", server)
		}
	}
	return nil
}
