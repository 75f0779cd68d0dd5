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

// records is a log that keeps its lines.
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

// take returns the lines since the last time.
func (r *records) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// counters counts by name.
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

// fakeControl is an identifier. It answers when the test says so.
type fakeControl struct {
	mu    sync.Mutex
	known map[string]*Peer
	asked []question // and not answered yet
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

// knows makes connections known from the start.
func (f *fakeControl) knows(uid uint32, names ...string) {
	if f.known == nil {
		f.known = map[string]*Peer{}
	}
	for _, name := range names {
		f.known[name] = &Peer{Name: name, UID: uid, Known: true, Left: context.Background()}
	}
}

// answer answers the oldest question, that of a connection of that user, and remembers it.
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

// handled is what a queue handled, in order.
type handled struct {
	mu  sync.Mutex
	got []string
}

func (h *handled) add(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, what)
}

func (h *handled) note(_ *connection, m *wire.Message) { h.add(id(m)) }

func (h *handled) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.got...)
}

func id(m *wire.Message) string { return fmt.Sprintf("%s/%d", m.Sender, m.Serial) }

// newCall is a call that costs so many bytes.
func newCall(sender string, serial uint32, size int) *wire.Message {
	return &wire.Message{
		Header: &wire.Header{Type: wire.TypeCall, Sender: sender, Serial: serial}, Size: size - messageOverhead,
	}
}

// offer admits and pushes, as the reader does.
func (q *queue) offer(m *wire.Message) error {
	if err := q.admit(m); err != nil {
		return err
	}
	return q.push(m)
}

// push or fail.
func mustOffer(t *testing.T, q *queue, m *wire.Message) {
	t.Helper()
	if err := q.offer(m); err != nil {
		t.Fatal(id(m), err)
	}
}

// testQueue is a queue that no worker runs yet.
func testQueue(limit int, handle func(*connection, *wire.Message)) (*queue, *fakeControl) {
	who := &fakeControl{}
	return newQueue(limit, handle, who, &refusals{log: slog.New(slog.DiscardHandler), count: ignore}), who
}

// startWorker runs one worker, so that turns can be told.
func (q *queue) startWorker() { q.wg.Go(func() { q.run(0) }) }

// wantEmpty expects that nothing is accounted for any more.
func wantEmpty(t *testing.T, q *queue) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes != 0 || len(q.conns) != 0 || len(q.users) != 0 || q.asking != 0 || !q.turns.empty() || !q.unasked.empty() {
		t.Errorf("%d bytes, %d connections, %d users and %d questions are left", q.bytes, len(q.conns), len(q.users), q.asking)
	}
}

const name = "org.osctl.Eventd"

// handlerFunc is a Handler.
type handlerFunc func(call *Call)

// Handle calls the function.
func (f handlerFunc) Handle(call *Call) { f(call) }

// Refuse returns an error that says why.
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

// connect connects, until the test ends.
func connect(t *testing.T, config Config) *Bus {
	t.Helper()
	b, err := Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// callOf is a call of the name with a string.
func callOf(text string) *bustest.Message {
	m := bustest.MethodCall(name, "/a", "a.b", "C")
	m.Signature, m.Body = "s", new(bustest.Body).String(text).Bytes()
	return m
}
