package bridge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/moby/moby/api/types/events"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/hub"
)

// TestHostileTexts checks that reports are short and printable, whatever a runtime sends.
func TestHostileTexts(t *testing.T) {
	labels := map[string]string{}
	for i := range 10_000 {
		labels[fmt.Sprintf("label%05d", i)] = strings.Repeat("\x1b", 5000)
	}
	labels["exitCode"], labels["name"], labels["image"] = "9999999999999", "a\nb\xff\x00"+strings.Repeat("ü", 5000), strings.Repeat("\u202e", 9000)
	m := events.Message{Type: "container", Action: "die", Actor: events.Actor{ID: idOf("4f5e"), Attributes: labels}, TimeNano: 1<<63 - 1}
	for _, report := range []struct {
		typ     string
		options hub.Options
	}{
		{hub.TypeInfo, infoReport("docker", m.Actor.ID, eventInfo(&m)).Options},
		{hub.TypeExit, exitReport("docker", &m).Options},
		{hub.TypeHealth, healthReport("docker", m.Actor.ID, plain("\x00\xfe", maxName), "").Options},
	} {
		e, err := hub.NewEvent(report.typ, report.options, "test")
		if err != nil {
			t.Errorf("%s: %v", report.typ, err)
			continue
		}
		text := string(e.AppendJSON(nil, ""))
		if len(text) > 40<<10 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\n\x1b\u202e") || strings.Contains(text, `\u00`) {
			t.Errorf("%s: %d bytes: %.200s", report.typ, len(text), text)
		}
	}
	if n := len(eventInfo(&m).labels); n != maxLabels {
		t.Errorf("%d labels are reported", n)
	}
}

// TestHostileAnswers checks that an endless or invalid answer ends the session at little cost, and is not
// reported. Later answers are.
func TestHostileAnswers(t *testing.T) {
	endless := func(begin, more string) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			_, err := fmt.Fprint(w, begin)
			for chunk := strings.Repeat(more, 4096); err == nil; {
				_, err = fmt.Fprint(w, chunk)
			}
		}
	}
	for _, test := range []struct {
		name, path string
		answer     func(w http.ResponseWriter)
		log        string // what the bridge logs
	}{
		{"list", "/containers/json", endless("[", `{},`), "containers are left out"},
		{"many", "/containers/json", func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, "["+strings.Repeat("{},", maxList/4)+"{}]") }, "containers are left out"},
		{"text", "/containers/json", endless(`[{"Id":"`, "x"), "the runtime's answer is too large"},
		{"event", "/events", endless(`{"id":"`, "x"), "the runtime's answer is too large"},
		{"lines", "/events", endless("{\"a\":[", "1,\n"), "the runtime's answer is too large"},
		{"header", "/containers/json", func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "server response headers exceeded"},
		{"redirect", "/containers/json", func(w http.ResponseWriter) { w.Header().Set("Location", "http://x/"); w.WriteHeader(http.StatusFound) }, "not followed for the moment"},
		{"error", "/events", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprint(w, `{"message":"`+strings.Repeat("x", 1<<19)+`"}`)
		}, "not followed for the moment"},
		{"nonsense", "/events", func(w http.ResponseWriter) { _, _ = fmt.Fprintln(w, "\xff{") }, "invalid character"},
		{"null", "/containers/json", func(w http.ResponseWriter) {
			_, _ = fmt.Fprint(w, `[null,{"Names":null},{"Id":"`+idOf("a")+`","Names":[]}]`)
			panic(http.ErrAbortHandler)
		}, "not followed for the moment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, e := startEventd(t), startEngine(t)
			e.server.ErrorLog = nil
			e.hijack = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, test.path) {
					return false
				}
				test.answer(w)
				return true
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
			apitest.Eventually(t, "the session ends", func() bool { _, log := b.output(); return strings.Contains(log, test.log) })
			runtime.ReadMemStats(&after)
			if grown := int64(after.Sys) - int64(before.Sys); grown > 256<<20 {
				t.Errorf("it took %d bytes of memory", grown)
			}
			if _, log := b.output(); len(log) > 4<<10 {
				t.Errorf("%d bytes are logged", len(log))
			}
			d.want(t)
			e.mu.Lock()
			e.hijack = nil
			e.mu.Unlock()
			e.setList("[" + listed(idOf("4f5e"), "web") + "]")
			e.emit("start", idOf("4f5e"), 0, "name", "web", "image", "nginx", "a", "b") // if the session did not end
			d.want(t, `ct_info docker:4f5e name=web image=nginx labels={"a":"b"}`)
		})
	}
}

// TestSilentEngine checks that the bridge stops although the engine does not answer.
func TestSilentEngine(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	requests := make(chan struct{}, 100)
	e.hijack = func(_ http.ResponseWriter, r *http.Request) bool {
		requests <- struct{}{}
		<-r.Context().Done()
		return true
	}
	b := startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	apitest.Await(t, "the engine got a request", requests)
	b.stop()
}

// TestFlood checks that a runtime that invents containers is slowed down.
func TestFlood(t *testing.T) {
	d, e := startEventd(t), startEngine(t)
	began := time.Now()
	startBridge(t, Config{Bus: d.bus.Address(), Docker: e.socket, StateDir: t.TempDir()})
	var lines []string
	for i := range 3 * burst {
		m, err := json.Marshal(map[string]any{"Type": "container", "Action": "create", "Actor": map[string]any{"ID": idOf(fmt.Sprintf("a%06d", i))}, "timeNano": time.Now().Add(time.Hour).UnixNano()})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(m))
	}
	e.send(strings.Join(lines, "\n"))
	apitest.Eventually(t, "the burst is reported", func() bool { return d.hub.Status().Last >= burst+3*perSecond })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("%d events took %v, want the last ones to take 3s", d.hub.Status().Last, took)
	}
}
