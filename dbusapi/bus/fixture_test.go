package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/dbusapi/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records is a log handler that keeps the lines.
type records struct {
	mu    sync.Mutex
	lines []string
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }

// Handle keeps the message and its attributes.
func (r *records) Handle(_ context.Context, record slog.Record) error {
	line := record.Message
	record.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	return nil
}

// take returns the lines since its last call.
func (r *records) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// counters are counters by name.
type counters struct {
	mu     sync.Mutex
	counts map[string]uint64
}

func (c *counters) add(name string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]uint64{}
	}
	c.counts[name] += n
}

func (c *counters) get(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[name]
}

func ignore(string, uint64) {}

// fakeControl is an identifier that answers when the test calls answer.
type fakeControl struct {
	mu    sync.Mutex
	known map[string]*Peer
	asked []question // open ones
	total int
}

type question struct {
	name string
	done func(*Peer)
}

func (f *fakeControl) recall(name string) *Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[name]
}

func (f *fakeControl) identify(name string, done func(*Peer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, question{name, done})
	f.total++
}

// addKnown adds identified connections.
func (f *fakeControl) addKnown(uid uint32, names ...string) {
	if f.known == nil {
		f.known = map[string]*Peer{}
	}
	for _, name := range names {
		f.known[name] = &Peer{Name: name, UID: uid, Known: true, Left: context.Background()}
	}
}

// answer answers the oldest question with a user.
func (f *fakeControl) answer(uid uint32, known bool) string {
	f.mu.Lock()
	q := f.asked[0]
	f.asked = f.asked[1:]
	peer := &Peer{Name: q.name, UID: uid, Known: known, Left: context.Background()}
	if f.known == nil {
		f.known = map[string]*Peer{}
	}
	f.known[q.name] = peer
	f.mu.Unlock()
	q.done(peer)
	return q.name
}

func (f *fakeControl) asking() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// handled records the handled calls, in order.
type handled struct {
	mu  sync.Mutex
	got []string
}

func (h *handled) add(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, what)
}

func (h *handled) record(_ *connection, m *wire.Message) { h.add(id(m)) }

func (h *handled) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.got...)
}

func id(m *wire.Message) string { return fmt.Sprintf("%s/%d", m.Sender, m.Serial) }

// newCall returns a call of the given cost.
func newCall(sender string, serial uint32, size int) *wire.Message {
	return &wire.Message{
		Header: &wire.Header{Type: wire.TypeCall, Sender: sender, Serial: serial}, Size: size - messageOverhead,
	}
}

// offer admits and pushes a call, as the reader does.
func (q *queue) offer(m *wire.Message) error {
	if err := q.admit(m); err != nil {
		return err
	}
	return q.push(m)
}

// mustOffer fails the test if the call is refused.
func mustOffer(t *testing.T, q *queue, m *wire.Message) {
	t.Helper()
	if err := q.offer(m); err != nil {
		t.Fatal(id(m), err)
	}
}

// testQueue returns a queue without workers.
func testQueue(limit int, handle func(*connection, *wire.Message)) (*queue, *fakeControl) {
	who := &fakeControl{}
	return newQueue(limit, handle, who, &refusals{log: slog.New(slog.DiscardHandler), count: ignore}), who
}

// startWorker starts a single worker, so that the order of turns is fixed.
func (q *queue) startWorker() { q.wg.Go(func() { q.run(0) }) }

// wantEmpty checks that all totals are zero.
func wantEmpty(t *testing.T, q *queue) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes != 0 || len(q.conns) != 0 || len(q.users) != 0 || q.identifying != 0 || !q.turns.empty() || !q.unidentified.empty() {
		t.Errorf("%d bytes, %d connections, %d users and %d questions are left", q.bytes, len(q.conns), len(q.users), q.identifying)
	}
}

const name = "org.osctl.Eventd"

// handlerFunc is a function as a Handler.
type handlerFunc func(call *Call)

// Handle calls the function.
func (f handlerFunc) Handle(call *Call) { f(call) }

// Refuse returns err as Failed.
func (f handlerFunc) Refuse(_ *wire.Message, err error) *wire.Error {
	return &wire.Error{Name: wire.ErrFailed, Message: err.Error()}
}

// echo replies with the call's first string.
func echo(call *Call) {
	s := call.Decoder().String()
	call.Reply("s", func(e *wire.Encoder) { e.String(s) })
}

func testConfig(bus *bustest.Bus, handle func(*Call)) Config {
	return Config{
		Address: bus.Address(), Name: name, Log: slog.New(slog.DiscardHandler),
		Handler: handlerFunc(handle), MaxBody: 1 << 20, Count: ignore,
	}
}

// connect connects, and closes the session when the test ends.
func connect(t *testing.T, config Config) *Bus {
	t.Helper()
	b, err := Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// callOf returns a call with a string.
func callOf(text string) *bustest.Message {
	m := bustest.MethodCall(name, "/a", "a.b", "C")
	m.Signature, m.Body = "s", new(bustest.Body).String(text).Bytes()
	return m
}
