package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventd is the service of osctl-eventd, without a kernel to watch.
type eventd struct {
	bus  *bustest.Bus
	hub  *hub.Hub
	stop func()
}

func startEventd(t *testing.T) *eventd {
	t.Helper()
	e := &eventd{bus: bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)}
	e.serve(t, apitest.NewHub(t, hub.Config{}))
	t.Cleanup(func() { e.stop() })
	return e
}

// serve starts the service of a hub.
func (e *eventd) serve(t *testing.T, h *hub.Hub) {
	t.Helper()
	service, err := dbusapi.New(dbusapi.Config{Hub: h, Address: e.bus.Address(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = service.Run(ctx)
	}()
	e.hub, e.stop = h, func() { cancel(); <-ended }
	apitest.Await(t, "the service is ready", service.Ready())
}

// events returns all events of the hub as short texts.
func (e *eventd) events(t *testing.T) (all []string) {
	t.Helper()
	sub, err := e.hub.Subscribe(hub.Filter{}, hub.CursorOldest)
	if err != nil {
		t.Fatal(err)
	}
	for buf := make([]*hub.Event, 256); ; {
		n, err := sub.Poll(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		for _, event := range buf[:n] {
			all = append(all, short(event))
		}
	}
}

// short shows an event without what differs from run to run.
func short(e *hub.Event) string {
	text := e.Type + " " + e.Pool + ":" + e.ID[:min(len(e.ID), 4)]
	for _, o := range e.Options {
		switch o.Name {
		case "pool", "id", "object", optionOccurred:
		default:
			text += " " + o.Name + "=" + strings.Trim(string(o.Value.AppendJSON(nil)), `"`)
		}
	}
	return text
}

// want waits until the hub has exactly these events.
func (e *eventd) want(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	deadline := time.Now().Add(patience)
	for !slices.Equal(got, want) {
		if time.Now().After(deadline) {
			t.Fatalf("events are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		time.Sleep(5 * time.Millisecond)
		got = e.events(t)
	}
}

// fakeEngine serves what docker's API would.
type fakeEngine struct {
	socket string
	server *http.Server

	mu      sync.Mutex
	list    string                                            // the answer, as JSON
	health  map[string]string                                 // by id
	past    []string                                          // events
	changed chan struct{}                                     // closed when there are more
	streams int                                               // that began
	hijack  func(w http.ResponseWriter, r *http.Request) bool // takes a request in place of what follows
}

func startEngine(t *testing.T) *fakeEngine {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-") //nolint:usetesting // short, as paths of sockets have to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &fakeEngine{socket: filepath.Join(dir, "sock"), list: "[]", health: map[string]string{}, changed: make(chan struct{})}
	e.start(t)
	t.Cleanup(func() { _ = e.server.Close() })
	return e
}

func (e *fakeEngine) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	e.server = server
	go func() { _ = server.Serve(l) }()
}

// stop stops the engine, and removes its socket.
func (e *fakeEngine) stop() { _ = e.server.Close() }

func (e *fakeEngine) setList(list string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = list
}

// happen has the engine tell an event of now, or of so much earlier.
func (e *fakeEngine) happen(action, id string, ago time.Duration, attributes ...string) {
	a := map[string]string{}
	for i := 0; i < len(attributes); i += 2 {
		a[attributes[i]] = attributes[i+1]
	}
	at := time.Now().Add(-ago)
	m, _ := json.Marshal(map[string]any{
		"status": action, "id": id, "from": a["image"], "Type": "container", "Action": action,
		"Actor": map[string]any{"ID": id, "Attributes": a}, "scope": "local", "time": at.Unix(), "timeNano": at.UnixNano(),
	})
	e.tell(string(m))
}

func (e *fakeEngine) tell(line string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.past = append(e.past, line)
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	list, hijack := e.list, e.hijack
	e.mu.Unlock()
	if hijack != nil && hijack(w, r) {
		return
	}
	w.Header().Set("Api-Version", "1.41")
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/_ping"):
	case strings.HasSuffix(path, "/containers/json"):
		_, _ = fmt.Fprint(w, list)
	case strings.HasSuffix(path, "/events"):
		e.serveEvents(w, r)
	default:
		id := strings.Split(path, "/")[3]
		e.mu.Lock()
		defer e.mu.Unlock()
		_, _ = fmt.Fprintf(w, `{"Id":%q,"State":{"Status":"running","Health":{"Status":%q}}}`, id, e.health[id])
	}
}

// serveEvents tells the events since a time, as the query says, and goes on.
func (e *fakeEngine) serveEvents(w http.ResponseWriter, r *http.Request) {
	var sec, nano int64
	if _, err := fmt.Sscanf(r.URL.Query().Get("since"), "%d.%d", &sec, &nano); err != nil || r.URL.Query().Get("filters") == "" {
		http.Error(w, "since or filters", http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	e.streams++
	e.mu.Unlock()
	for i := 0; ; {
		e.mu.Lock()
		lines, changed := e.past[i:], e.changed
		e.mu.Unlock()
		i += len(lines)
		for _, line := range lines {
			var m struct{ TimeNano int64 }
			if json.Unmarshal([]byte(line), &m) == nil && m.TimeNano < time.Unix(sec, nano).UnixNano() {
				continue
			}
			_, _ = fmt.Fprintln(w, line)
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// running is a bridge that runs.
type running struct {
	stop func()

	mu     sync.Mutex
	status string
	log    strings.Builder
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// said returns the status, and what was logged.
func (r *running) said() (status, log string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status, r.log.String()
}

// startBridge runs a bridge until it is stopped, or until the test ends.
func startBridge(t *testing.T, config Config) *running {
	t.Helper()
	r := &running{}
	config.Log = slog.New(slog.NewTextHandler(r, nil))
	config.Status = func(text string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.status = text
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, config) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := apitest.Await(t, "the bridge ends", ended); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		r.stop()
		if status, log := r.said(); t.Failed() {
			t.Logf("the bridge is at %q and said:\n%s", status, log)
		}
	})
	return r
}

// idOf returns an id that begins with a text.
func idOf(begin string) string { return begin + strings.Repeat("0", idDigits-len(begin)) }

// listed returns a container as a list has it.
func listed(id, name, image, state string) string {
	return fmt.Sprintf(`{"Id":%q,"Names":["/%s"],"Image":%q,"ImageID":"sha256:0","Command":"sh","Created":1,"Ports":[],"Labels":{"a":"b"},"State":%q,"Status":"Up","HostConfig":{"NetworkMode":"default"},"NetworkSettings":{"Networks":{}},"Mounts":[]}`,
		id, name, image, state)
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// wantStatus waits until the bridge says what it follows.
func (r *running) wantStatus(t *testing.T, want string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for status, _ := r.said(); status != want; status, _ = r.said() {
		if time.Now().After(deadline) {
			t.Fatalf("the status is %q, want %q", status, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
