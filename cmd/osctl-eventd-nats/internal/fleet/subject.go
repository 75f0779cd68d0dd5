package fleet

import (
	"fmt"
	"strings"
)

const (
	// DefaultStream is the default name of the stream.
	DefaultStream = "OSCTL"
	// Subjects are the subjects of all hosts.
	Subjects = subjectPrefix + "*"

	subjectPrefix = "osctl.events."
)

// Subject returns the subject of a host.
func Subject(host string) string { return subjectPrefix + token(host) }

// HeadSubject returns the subject to request the last message of a host. It contains the host, so that
// permissions can name it.
func HeadSubject(stream, host string) string { return HeadPrefix(stream) + Subject(host) }

// HeadPrefix returns the prefix of HeadSubject.
func HeadPrefix(stream string) string { return "$JS.API.DIRECT.GET." + stream + "." }

// Inbox returns the prefix of a client's inboxes. It contains the host, so that permissions can keep
// other hosts from reading the replies.
func Inbox(host string) string { return "_INBOX_" + token(host) }

// token returns a host as one token of a subject: it escapes dots.
func token(host string) string { return strings.ReplaceAll(host, ".", "=2E") }

// hostOf returns the host of a subject: the reverse of [Subject].
func hostOf(subject string) string {
	return strings.ReplaceAll(strings.TrimPrefix(subject, subjectPrefix), "=2E", ".")
}

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	maxName = 64 // bytes of a name
)

// CheckHost checks the name of a host.
func CheckHost(name string) error {
	if !isName(name, "_-.") || name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("host %q: expected up to 64 letters, digits, _, dots and -, the first one neither dot nor -", name)
	}
	return nil
}

// CheckStream checks the name of a stream.
func CheckStream(name string) error {
	if !isName(name, "_-") {
		return fmt.Errorf("stream %q: expected up to 64 letters, digits, _ and -", name)
	}
	return nil
}

func isName(text, more string) bool {
	return text != "" && len(text) <= maxName && strings.Trim(text, letters+"0123456789"+more) == ""
}
