package fleet

import (
	"fmt"
	"strings"
)

const (
	// DefaultStream is the stream's name unless a flag says otherwise.
	DefaultStream = "OSCTL"
	// Subjects are the subjects of all hosts.
	Subjects = subjectPrefix + "*"

	subjectPrefix = "osctl.events."
)

// Subject is the subject of a host.
func Subject(host string) string { return subjectPrefix + token(host) }

// HeadSubject is the request for the last message of a host. The host stands in it, so that a
// permission can name it.
func HeadSubject(stream, host string) string { return HeadPrefix(stream) + Subject(host) }

// HeadPrefix begins the requests for the last message on a subject.
func HeadPrefix(stream string) string { return "$JS.API.DIRECT.GET." + stream + "." }

// Inbox is the prefix of a client's inboxes. It has the host in it, so that no other host may
// listen to the replies.
func Inbox(host string) string { return "_INBOX_" + token(host) }

// A dot would end the token of a subject.
func token(host string) string { return strings.ReplaceAll(host, ".", "=2E") }

// hostOf returns the host of a subject: the reverse of [Subject].
func hostOf(subject string) string {
	return strings.ReplaceAll(strings.TrimPrefix(subject, subjectPrefix), "=2E", ".")
}

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	maxName = 64 // bytes of a name
)

// CheckHost refuses what is no name of a host.
func CheckHost(name string) error {
	if !isName(name, "_-.") || name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("host %q: expected up to 64 letters, digits, _, dots and -, the first one neither dot nor -", name)
	}
	return nil
}

// CheckStream refuses what is no name of a stream.
func CheckStream(name string) error {
	if !isName(name, "_-") {
		return fmt.Errorf("stream %q: expected up to 64 letters, digits, _ and -", name)
	}
	return nil
}

func isName(text, more string) bool {
	return text != "" && len(text) <= maxName && strings.Trim(text, letters+"0123456789"+more) == ""
}
