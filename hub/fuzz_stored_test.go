package hub

import (
	"bytes"
	"testing"
	"time"
)

// FuzzStored replays any bytes as a record, as if the checksum were right. That must not panic, and
// a decoded batch must be encoded as the same bytes.
func FuzzStored(f *testing.F) {
	e := netif(f)
	e.Seq, e.Time = 1, time.UnixMicro(1700000000000000)
	row := Interface{Ifindex: 3, Veth: "veth1", Name: "eth0", Pool: "p", ID: "1", State: LinkUp, Announced: true, BoundBy: "uid:0", BoundPeer: 2, Kept: true, Since: time.UnixMicro(5)}
	f.Add(appendBatch(nil, &Batch{Events: []*Event{e}, Interfaces: []InterfaceChange{{Interface: row}, {Interface: row, Removed: true}}, Place: "x"}))
	f.Add(appendSnapshot(nil, &snapshot{place: "x", interfaces: []Interface{row}, containers: []*Container{{Pool: "p", ID: "1", State: "running", Source: "uid:0"}}}, firstPart|lastPart))
	values := Options{{"v", Variant(Struct([]Value{Bool(true), Int64(-5), Number(KindDouble, 1<<62), Bytes([]byte{0, 255}), Strings("a"), Dict("s", "v", []Value{String("k"), Variant(Uint32(1))})}))}}
	f.Add(appendBatch(nil, &Batch{Events: []*Event{makeEvent("x", values, "uid:0")}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := newHub(t, Config{History: 64})
		replayed := &replayer{state: h.state}
		replay := replayed.record
		for first := uint64(1); first < 4; first++ {
			count := uint32(0)
			if r := (&storedReader{rest: string(data)}); r.byte() == recordBatch {
				var batch Batch
				r.batch(&batch, first)
				count = uint32(len(batch.Events))
			}
			_ = replay(Record{First: first, Count: count, Data: data})
		}
		h.state = replayed.state
		h.Interfaces()
		h.Containers()
		r := storedReader{rest: string(data)}
		if r.byte() != recordBatch {
			return
		}
		var batch, again Batch
		r.batch(&batch, 1)
		if r.end(Record{}) != nil {
			return
		}
		stored := appendBatch(nil, &batch)
		r = storedReader{rest: string(stored[1:])}
		r.batch(&again, 1)
		if err := r.end(Record{}); err != nil || !bytes.Equal(appendBatch(nil, &again), stored) {
			t.Errorf("a decoded batch is encoded differently: %v", err)
		}
	})
}
