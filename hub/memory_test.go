package hub_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// liveHeap returns the bytes of the heap in use after a collection.
func liveHeap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // the first may leave objects with finalizers
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// growth returns by how many bytes run grows the live heap. The result of run is kept alive.
func growth(run func() any) int64 {
	before := liveHeap()
	kept := run()
	after := liveHeap()
	runtime.KeepAlive(kept)
	return after - before
}

// message returns texts as they come from the bus: as parts of one message with size more bytes.
func message(size int, texts ...string) []string {
	body := strings.Join(texts, "") + strings.Repeat("x", size)
	pieces := make([]string, 0, len(texts)+1)
	for _, text := range texts {
		pieces, body = append(pieces, body[:len(text)]), body[len(text):]
	}
	return append(pieces, body)
}

func newHub(tb testing.TB, config hub.Config) *hub.Hub {
	tb.Helper()
	h, err := hub.New(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func commit(tb testing.TB, h *hub.Hub, batch hub.Batch) {
	tb.Helper()
	if _, err := h.Commit(batch); err != nil {
		tb.Fatal(err)
	}
}

// stateFrom returns a state event from a message with a secret of so many bytes and more options.
func stateFrom(tb testing.TB, id string, secret int, more ...hub.Option) *hub.Event {
	tb.Helper()
	m := message(secret, "state", "pool", "tank", "id", id, "state", "running", "password", "uid:0")
	options := append(more,
		hub.Option{Name: m[1], Value: hub.String(m[2])}, hub.Option{Name: m[3], Value: hub.String(m[4])},
		hub.Option{Name: m[5], Value: hub.String(m[6])}, hub.Option{Name: m[7], Value: hub.String(m[9])})
	e, err := hub.NewEvent(m[0], options, m[8])
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// wantLittleGrowth fails if run keeps more than 1 MiB of memory.
func wantLittleGrowth(tb testing.TB, run func() any) {
	tb.Helper()
	const most = 1 << 20
	if got := growth(run); got > most {
		tb.Errorf("the live heap grew by %d bytes, want at most %d", got, most)
	}
}

// Neither events nor rows of views keep a replaced secret in memory.
func TestRedactedValuesAreFreed(t *testing.T) {
	wantLittleGrowth(t, func() any {
		h := newHub(t, hub.Config{History: 64})
		for i := range 1200 {
			commit(t, h, hub.Batch{Events: []*hub.Event{stateFrom(t, fmt.Sprint(i), 256<<10)}})
		}
		if rows, _ := h.Containers(); len(rows) != 1200 {
			t.Errorf("%d containers", len(rows))
		}
		return h
	})
}

// Rows, the place and the names of counters do not keep the messages in memory that they came from.
func TestRowsHoldOnlyTheirTexts(t *testing.T) {
	const size = 64 << 10
	wantLittleGrowth(t, func() any {
		h := newHub(t, hub.Config{History: 1})
		commit(t, h, hub.Batch{Place: message(4<<20, "here")[0]})
		for i := range 1024 {
			m := message(size, fmt.Sprint("veth", i), "eth0", "tank", fmt.Sprint(i), "up", "uid:0", fmt.Sprint("t", i%100))
			e, err := hub.NewEvent(m[6], hub.Options{{Name: "o", Value: hub.String(m[7])}}, m[5])
			if err != nil {
				t.Fatal(err)
			}
			row := hub.Interface{Ifindex: uint32(i + 1), Veth: m[0], Name: m[1], Pool: m[2], ID: m[3], State: hub.LinkState(m[4]), BoundBy: m[5]}
			state := stateFrom(t, m[3], 0, hub.Option{Name: "more", Value: hub.String(m[7])})
			again := stateFrom(t, m[3], 0, hub.Option{Name: "more", Value: hub.String(m[7])})
			commit(t, h, hub.Batch{Events: []*hub.Event{state, again, e}, Interfaces: []hub.InterfaceChange{{Interface: row}}})
		}
		return h
	})
}

func TestFiltersHoldOnlyTheirValues(t *testing.T) {
	wantLittleGrowth(t, func() any {
		filters := make([]hub.Filter, 1024)
		for i := range filters {
			var err error
			if filters[i], err = filters[i].With("id", message(64<<10, "101", "102")[:2]...); err != nil {
				t.Fatal(err)
			}
		}
		return filters
	})
}

// Restored rows do not keep the log's records in memory.
func TestRestoredRowsHoldOnlyTheirTexts(t *testing.T) {
	dir := t.TempDir()
	open := func() *hub.Hub {
		l, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir, MaxBytes: 256 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return newHub(t, hub.Config{Log: l, History: 64})
	}
	h := open()
	ballast, err := hub.NewEvent("x", hub.Options{{Name: "o", Value: hub.String(strings.Repeat("x", 32<<10))}}, "uid:0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 256 {
		batch := hub.Batch{Interfaces: []hub.InterfaceChange{{Interface: hub.Interface{Ifindex: uint32(i + 1), Veth: fmt.Sprint("veth", i), State: hub.LinkUp}}}}
		for range 8 {
			again, err := hub.NewEvent(ballast.Type, slices.Clone(ballast.Options), ballast.Source)
			if err != nil {
				t.Fatal(err)
			}
			batch.Events = append(batch.Events, again)
		}
		batch.Events = append(batch.Events, stateFrom(t, fmt.Sprint(i), 0))
		commit(t, h, batch)
	}
	for i := range 64 {
		commit(t, h, hub.Batch{Events: []*hub.Event{stateFrom(t, fmt.Sprint(i), 0)}})
	}
	h.Close()
	wantLittleGrowth(t, func() any {
		h := open()
		if status := h.Status(); status.Containers != 256 || status.Interfaces != 256 || status.Oldest+63 != status.Last {
			t.Errorf("status is %+v", status)
		}
		t.Cleanup(h.Close)
		return h
	})
}

// shapes returns options of about 64 KiB, one set for each kind of value.
func shapes() map[string]func() hub.Options {
	const size = 60 << 10
	repeat := func(n int, v func() []hub.Value) []hub.Value {
		var items []hub.Value
		for range n {
			items = append(items, v()...)
		}
		return items
	}
	return map[string]func() hub.Options{
		"text":  func() hub.Options { return hub.Options{{Name: "o", Value: hub.String(strings.Repeat("x", size))}} },
		"bytes": func() hub.Options { return hub.Options{{Name: "o", Value: hub.Bytes(make([]byte, size))}} },
		"short": func() hub.Options { return hub.Options{{Name: "o", Value: hub.Bool(true)}} },
		"many": func() (options hub.Options) {
			for i := range hub.MaxOptions {
				options = append(options, hub.Option{Name: fmt.Sprint("option", i), Value: hub.String(strings.Repeat("x", size/hub.MaxOptions))})
			}
			return options
		},
		"numbers": func() hub.Options {
			return hub.Options{{Name: "o", Value: hub.Array("q", repeat(size/2, func() []hub.Value { return []hub.Value{hub.Number(hub.KindUint16, 5)} }))}}
		},
		"strings": func() hub.Options {
			return hub.Options{{Name: "o", Value: hub.Array("s", repeat(size/8, func() []hub.Value { return []hub.Value{hub.String("abc")} }))}}
		},
		"variants": func() hub.Options {
			return hub.Options{{Name: "o", Value: hub.Array("v", repeat(size/16, func() []hub.Value {
				return []hub.Value{hub.Variant(hub.Struct([]hub.Value{hub.Uint64(5), hub.String("a")}))}
			}))}}
		},
		"dicts": func() hub.Options {
			n := uint32(0)
			return hub.Options{{Name: "o", Value: hub.Dict("u", "ai", repeat(size/16, func() []hub.Value {
				n++
				return []hub.Value{hub.Uint32(n), hub.Array("i", []hub.Value{hub.Int32(7)})}
			}))}}
		},
	}
}

// HistoryBytes limits the memory that is really in use, encodings included: at most a tenth more, and
// not far less.
func TestHistoryBytesIsTheLiveHeap(t *testing.T) {
	const limit = 16 << 20
	for name, options := range shapes() {
		t.Run(name, func(t *testing.T) {
			held := growth(func() any {
				h := newHub(t, hub.Config{History: 1 << 16, HistoryBytes: limit})
				for h.Status().Oldest <= 16 {
					e, err := hub.NewEvent("x", append(make(hub.Options, 0, 128), options()...), "uid:0")
					if err != nil {
						t.Fatal(err)
					}
					commit(t, h, hub.Batch{Events: []*hub.Event{e}})
					e.Encoding(wire.EncodeEvent)
				}
				return h
			})
			if held > limit*11/10 || held < limit/2 {
				t.Errorf("holds %d bytes with a limit of %d", held, limit)
			}
		})
	}
}
