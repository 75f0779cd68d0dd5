package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/packaging/man"
)

// jsonObject is an object that commands print, with the meaning of its keys.
type jsonObject struct {
	title, commands string
	example         string
	keys            [][2]string
}

// jsonObjects returns the objects, each with an example from the program's own functions.
func jsonObjects(tb testing.TB) []jsonObject {
	tb.Helper()
	at := time.Date(2026, 11, 22, 10, 11, 12, 123456000, time.UTC)
	const epoch = "835434e65d826f191cbdf163012820b4"
	event, err := hub.NewEvent(hub.TypeNetif, hub.Options{
		{Name: "pool", Value: hub.String("tank")},
		{Name: "id", Value: hub.String("101")},
		{Name: "action", Value: hub.String("up")},
		{Name: "name", Value: hub.String("eth0")},
		{Name: "veth", Value: hub.String("veth101")},
		{Name: "ifindex", Value: hub.Uint32(12)},
	}, hub.SourceNetlink)
	if err != nil {
		tb.Fatal(err)
	}
	event.Seq, event.Time = 42, at
	link := &hub.Interface{Ifindex: 12, Veth: "veth101", Name: "eth0", Pool: "tank", ID: "101", State: hub.LinkUp, ContainerName: "web"}
	state := &hub.Container{Pool: "tank", ID: "101", State: "running", Time: at, Name: "web", Image: "nginx"}
	details := containerDetails{target: target{pool: "tank", id: "101"}, known: state, links: []hub.Interface{*link}, removed: at}
	var shown bytes.Buffer
	if err := details.writeJSON(&shown); err != nil {
		tb.Fatal(err)
	}
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return string(b)
	}
	return []jsonObject{
		{"An event", "monitor, events and wait print it, and commands of run get it on standard input.", string(event.AppendJSON(nil, epoch)), [][2]string{
			{"type", "type of the event, see org.osctl.Eventd(5)"},
			{"opts", "options of the event"},
			{"seq", "number of the event, consecutive within an epoch"},
			{"time", "when the service received the event, in UTC, with microseconds"},
			{"source", "netlink or cgroup if the service saw it, else the reporter's unit or uid:N"},
			{"cursor", "the position after the event, for --since"},
		}},
		{"An interface", "list prints one object a line.", encode(linkJSON(link)), [][2]string{
			{"ifindex", "index on the host"},
			{"veth", "name on the host"},
			{"name", "name inside the container; empty if unknown"},
			{"pool, id", "the container; empty if unknown"},
			{"state", "up, no-carrier or down"},
			{"ct_name", "name of the container; missing if unknown"},
		}},
		{"A container", "containers prints one object a line.", encode(containerJSON(state)), [][2]string{
			{"pool, id", "the container"},
			{"state", "its last state; empty if unknown"},
			{"time", "when the state, or else the name, was reported, in UTC"},
			{"ct_name, image", "its name and its image; missing if unknown"},
		}},
		{"The details of a container", "show prints it.", shown.String(), [][2]string{
			{"pool, id", "the container"},
			{"state", "its last state; empty if unknown"},
			{"time", "time of the state; missing if unknown"},
			{"removed", "when the container was removed; missing unless it is gone"},
			{"ct_name, image", "its name and its image; missing if unknown"},
			{"interfaces", "its interfaces, as list prints them"},
			{"events", "its last events, as monitor prints them"},
		}},
		{"The status", "status prints it.", encode(&status{
			Running: true, Healthy: true, Bus: "system", Version: "0.1.0", StartTime: at, Durable: true, Epoch: epoch, Oldest: 1, Last: 42,
			Cursor: epoch + ":42", Interfaces: 1, Containers: 1, Missing: []string{}, Counters: map[string]uint64{"resyncs": 0}, Error: "why",
		}), [][2]string{
			{"running", "whether the service answers; if not, only bus and error are meaningful"},
			{"healthy", "whether it runs, log_problem is empty, and missing is empty"},
			{"error", "why the service does not answer; missing if it does"},
			{"bus", "the bus of the service"},
			{"version, start_time", "of the service"},
			{"durable, log_problem", "whether events survive a restart of the service, and the problem with the log"},
			{"epoch", "changes only when history was lost"},
			{"oldest_sequence, last_sequence", "numbers of the oldest kept event and of the newest event"},
			{"cursor", "the position after the newest event"},
			{"interfaces, containers", "number of interfaces, and of containers that are not stopped"},
			{"missing", "a list of texts: what the service lacks, and what does not work without it"},
			{"counters", "see the property Counters in org.osctl.Eventd(5)"},
		}},
	}
}

// jsonSection adds the section JSON.
func jsonSection(tb testing.TB, p *man.Page) {
	tb.Helper()
	p.Section("JSON")
	p.Text(`With --json commands print objects, one a line. Later versions may add keys, and
options to types of events.

Integers have up to 64 bits; byte arrays are base64. Containers choose the names of their interfaces,
and a name may have any character: use jq -a if its output goes to a terminal.`)
	for _, o := range jsonObjects(tb) {
		p.Subsection(o.title)
		p.Text(o.commands)
		if o.title != "The status" && o.title != "The details of a container" { // one long line
			p.Example(o.example)
		}
		for _, key := range o.keys {
			p.Item(key[0], key[1])
		}
	}
}

// TestManualPageJSON checks that the page has exactly the keys of the objects.
func TestManualPageJSON(t *testing.T) {
	for _, o := range jsonObjects(t) {
		var decoded map[string]json.RawMessage
		if err := json.Unmarshal([]byte(o.example), &decoded); err != nil {
			t.Fatal(err)
		}
		for _, key := range o.keys {
			for name := range strings.SplitSeq(key[0], ", ") {
				if _, ok := decoded[name]; !ok {
					t.Errorf("%s: no key %s in %s", o.title, name, o.example)
				}
				delete(decoded, name)
			}
		}
		for name := range decoded {
			t.Errorf("%s: the key %s is not on the page", o.title, name)
		}
	}
}
