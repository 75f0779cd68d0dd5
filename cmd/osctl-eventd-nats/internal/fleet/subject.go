package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// DefaultStream is the stream's name unless a flag says otherwise.
	DefaultStream = "OSCTL"
	// Subjects are the subjects of all hosts.
	Subjects = subjectPrefix + "*"

	subjectPrefix = "osctl.events."
	maxToken      = 64 // bytes of a token, before it is cut
)

// Subject is the subject of a host.
func Subject(host string) string { return subjectPrefix + Token(host) }

// HeadSubject is the request for the last message of a host. The host stands in it, so that a
// permission can name it.
func HeadSubject(stream, host string) string { return HeadPrefix(stream) + Subject(host) }

// HeadPrefix begins the requests for the last message on a subject.
func HeadPrefix(stream string) string { return "$JS.API.DIRECT.GET." + stream + "." }

// Inbox is the prefix of a client's inboxes. It has the host in it, so that no other host may
// listen to the replies.
func Inbox(host string) string { return "_INBOX_" + Token(host) }

// Token makes any text one token of a subject: bytes other than letters, digits, _ and - become
// =XX, the empty text becomes =, and what is too long is cut and told apart by a hash.
func Token(text string) string {
	if text == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(text) {
		if plainByte(text[i]) {
			b.WriteByte(text[i])
		} else {
			_, _ = fmt.Fprintf(&b, "=%02X", text[i])
		}
	}
	if b.Len() <= maxToken {
		return b.String()
	}
	sum := sha256.Sum256([]byte(text))
	return b.String()[:maxToken] + "=~" + hex.EncodeToString(sum[:4])
}

func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// CheckStream refuses what cannot be the name of a stream.
func CheckStream(name string) error {
	if name == "" || strings.ContainsAny(name, " \t\r\n\x00.*>/\\") {
		return errors.New("expected a stream's name, without blanks, dots, wildcards and slashes")
	}
	return nil
}
