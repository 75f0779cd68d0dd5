package bridge

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recordings are answers of docker 20.10.24 and podman 4.3.1. The container web had a health check, and was
// paused, renamed, killed, started, stopped and removed. The list has two more containers.
//
//go:embed testdata
var recordings embed.FS

// recorded decodes a recording.
func recorded[T any](path string) (value T) {
	text, err := recordings.ReadFile("testdata/" + path)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err != nil {
		panic(err)
	}
	return value
}

// object is a JSON object.
type object = map[string]any

// recordedEvents returns the recorded events of a runtime.
func recordedEvents(runtime string) (all []object) {
	text, err := recordings.ReadFile("testdata/" + runtime + "/events.jsonl")
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var event object
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			panic(err)
		}
		all = append(all, event)
	}
	return all
}

// listed returns the list element of a running container of the image nginx.
func listed(id, name string) string {
	row := recorded[[]object]("docker/list.json")[0]
	row["Id"], row["Names"], row["Image"] = id, []string{"/" + name}, "nginx"
	return encode(row)
}

func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// fakeEngine serves docker's API with recorded answers, which tests change.
type fakeEngine struct {
	socket string
	server *http.Server

	mu      sync.Mutex
	list    string                                            // the JSON of the list
	health  map[string]string                                 // by id
	past    []string                                          // events
	changed chan struct{}                                     // closed and replaced at each event
	hijack  func(w http.ResponseWriter, r *http.Request) bool // if it returns true, it has answered
}

func startEngine(t *testing.T) *fakeEngine {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-") //nolint:usetesting // the path of a socket must be short
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

// setHealth sets the result of a container's health check, and sends the event of it.
func (e *fakeEngine) setHealth(id, health, event string) {
	e.mu.Lock()
	e.health[id] = health
	e.mu.Unlock()
	e.emit(event, id, 0, "name", "web")
}

// emit sends a recorded event as one of ago before now, with another id and other attributes.
func (e *fakeEngine) emit(action, id string, ago time.Duration, attributes ...string) {
	events := append(recordedEvents("docker"), recordedEvents("podman")...)
	event := events[slices.IndexFunc(events, func(event object) bool { return event["Action"] == action })]
	actor, _ := event["Actor"].(object)
	event["id"], actor["ID"] = id, id
	known, _ := actor["Attributes"].(object)
	for i := 0; i < len(attributes); i += 2 {
		known[attributes[i]] = attributes[i+1]
	}
	e.emitAt(time.Now().Add(-ago), event)
}

// emitAt sends an event with a time.
func (e *fakeEngine) emitAt(at time.Time, event object) {
	event["time"], event["timeNano"] = at.Unix(), at.UnixNano()
	e.send(encode(event))
}

func (e *fakeEngine) send(line string) {
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
	version := recorded[struct{ APIVersion string }]("docker/version.json")
	w.Header().Set("Api-Version", version.APIVersion)
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/_ping"):
	case strings.HasSuffix(path, "/containers/json"):
		_, _ = fmt.Fprint(w, list)
	case path == "/v"+version.APIVersion+"/events": // the version that docker and the client negotiated
		e.serveEvents(w, r)
	default:
		id := strings.Split(path, "/")[3]
		e.mu.Lock()
		defer e.mu.Unlock()
		row := recorded[object]("docker/inspect.json")
		row["Id"] = id
		row["State"].(object)["Health"].(object)["Status"] = e.health[id]
		_, _ = fmt.Fprint(w, encode(row))
	}
}

// serveEvents sends the events since the time in the query, and then new ones.
func (e *fakeEngine) serveEvents(w http.ResponseWriter, r *http.Request) {
	var sec, nano int64
	if _, err := fmt.Sscanf(r.URL.Query().Get("since"), "%d.%d", &sec, &nano); err != nil || r.URL.Query().Get("filters") == "" {
		http.Error(w, "since or filters", http.StatusBadRequest)
		return
	}
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
