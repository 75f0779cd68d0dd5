package bus

import (
	"strconv"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// userKey identifies a user: a uid, or the user "unknown" of all unidentified connections.
type userKey struct {
	uid   uint32
	known bool
}

func keyOf(peer *Peer) userKey {
	if peer == nil || !peer.Known {
		return userKey{}
	}
	return userKey{peer.UID, true}
}

func (k userKey) String() string {
	if !k.known {
		return "unknown"
	}
	return strconv.FormatUint(uint64(k.uid), 10)
}

// user is a user with queued or running calls.
type user struct {
	key    userKey
	ready  fifo[*connection] // connections that wait for a turn
	queued bool              // in queue.turns
	conns  int
	bytes  int
}

// cost returns the memory that a message takes, in bytes, approximately.
func cost(m *wire.Message) int { return m.Size + messageOverhead }

// admit returns an error if there is no room for a call. The reading goroutine calls it before it reads
// the body, and then pushes the call.
func (q *queue) admit(m *wire.Message) error {
	key, err := q.findRoom(m)
	if wire.HasName(err, wire.ErrLimitsExceeded) {
		q.refusals.add(key.String())
	}
	return err
}

func (q *queue) findRoom(m *wire.Message) (userKey, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var key userKey
	ofConn, ofUser := 0, 0
	if c := q.conns[m.Sender]; c != nil {
		key, ofConn = c.user.key, c.bytes
	} else {
		key = keyOf(q.identifier.recall(m.Sender))
	}
	if u := q.users[key]; u != nil {
		ofUser = u.bytes
	}
	more := cost(m)
	userShare := (q.limit - (q.bytes - ofUser)) / 2
	connShare := (userShare - (ofUser - ofConn)) / 2
	switch {
	case q.stopped:
		return key, hub.ErrClosed
	case ofUser == 0 && more <= q.limit-q.bytes, ofUser+more <= userShare && (ofConn == 0 || ofConn+more <= connShare):
		return key, nil
	}
	return key, wire.Errorf(wire.ErrLimitsExceeded,
		"over quota: %d bytes of calls of this connection, and %d of its user, are queued", ofConn, ofUser)
}

// userOf returns the user with a key, a new one if there is none.
func (q *queue) userOf(key userKey) *user {
	u := q.users[key]
	if u == nil {
		u = &user{key: key}
		q.users[key] = u
	}
	return u
}

// charge adds bytes to the totals of a connection, its user, and the queue.
func (q *queue) charge(c *connection, bytes int) {
	c.bytes += bytes
	c.user.bytes += bytes
	q.bytes += bytes
}

// assignUser moves a connection with its bytes to another user.
func (q *queue) assignUser(c *connection, to *user) {
	from := c.user
	to.conns++
	to.bytes += c.bytes
	from.bytes -= c.bytes
	q.detach(c)
	c.user = to
}

// detach removes a connection from its user, and the user after its last connection.
func (q *queue) detach(c *connection) {
	if c.user.conns--; c.user.conns == 0 {
		delete(q.users, c.user.key)
	}
}
