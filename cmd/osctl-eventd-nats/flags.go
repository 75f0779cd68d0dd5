package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/osctl/eventd/cmd/osctl-eventd-nats/internal/fleet"
)

// credentialName is the name in the unit's LoadCredential=, see systemd.exec(5).
const credentialName = "osctl-eventd-nats" //nolint:gosec // a name, no secret

// serverFlags are the flags to reach NATS.
type serverFlags struct {
	fleet.Access
	stream string
}

func (s *serverFlags) add(f *pflag.FlagSet) {
	server := os.Getenv("NATS_URL")
	if server == "" {
		server = "nats://127.0.0.1:4222"
	}
	f.StringVar(&s.Servers, "server", server, "`URL` of the NATS servers, several separated by commas; tls:// demands TLS")
	f.StringVar(&s.stream, "stream", fleet.DefaultStream, "`NAME` of the JetStream stream")
	f.StringVar(&s.User, "user", os.Getenv("NATS_USER"), "log in as `USER`, with the password in the file password")
	f.StringVar(&s.Dir, "credentials", "",
		"read the files creds, password, ca.pem, cert.pem and key.pem in `DIR`; each is optional")
}

// check sets defaults, and checks the flags.
func (s *serverFlags) check() error {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); s.Dir == "" && dir != "" {
		s.Dir, s.Prefix = dir, credentialName+"_"
	}
	if err := s.Check(); err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	return fleet.CheckStream(s.stream)
}

// shortHostName returns the name of this host up to the first dot.
func shortHostName() (string, error) {
	name, err := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	if err == nil && name == "" {
		err = errors.New("this host has no name")
	}
	return name, err
}
