package dbusapi

import (
	"bufio"
	"encoding/binary"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// floodKind is a kind of endless messages of a process.
type floodKind struct {
	name    string
	window  int // pending calls, 0 for as many as the bus allows
	message func() *bustest.Message
}

func floods() []floodKind {
	report := func(size int, flags byte) func() *bustest.Message {
		return func() *bustest.Message {
			m := apitest.ReportCall("load", "pool", "tank", "id", "101", "text", strings.Repeat("x", size))
			m.Flags = flags
			return m
		}
	}
	return []floodKind{
		{"one at a time", 1, report(40, 0)},
		{"100 pending", 100, report(40, 0)},
		{"100 large ones pending", 100, report(40_000, 0)},
		{"100 batches of 30 pending", 100, func() *bustest.Message { return hostileBatch(30, 40) }},
		{"all at once", 0, report(40, 0)},
		{"no replies", 0, report(40, bustest.FlagNoReply)},
		{"batches of 1,000", 8, func() *bustest.Message { return hostileBatch(1000, 40) }},
	}
}

// flood is a process that floods the service on command.
type flood struct{ *child }

// startFlood starts a process for the flood of that name as a user. The flood is off.
func startFlood(tb testing.TB, bus *bustest.Bus, uid uint32, name string) *flood {
	tb.Helper()
	s := apitest.OpenStream(tb, bus, uid)
	defer s.Close()
	file, err := s.File()
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	return &flood{startChild(tb, "DBUSAPI_TEST_FLOOD", name, file)}
}

// on starts the flood.
func (f *flood) on(tb testing.TB) {
	tb.Helper()
	f.command(tb, "on", new(bool))
}

// off stops the flood and waits until it has stopped.
func (f *flood) off(tb testing.TB) {
	tb.Helper()
	f.command(tb, "off", new(bool))
}

// floodMain is the main function of a flood. It uses the connection in file 3.
func floodMain(name string) error {
	var kind floodKind
	for _, k := range floods() {
		if k.name == name {
			kind = k
		}
	}
	sock, err := net.FileConn(os.NewFile(3, "bus"))
	if err != nil {
		return err
	}
	m := kind.message()
	m.Serial = 1
	sender := &floodSender{sock: sock, raw: m.Marshal(), window: int64(kind.window), room: make(chan struct{}, 1)}
	go sender.read()
	var wg sync.WaitGroup
	stop := func() {
		sender.stop.Store(true)
		wg.Wait()
	}
	defer stop()
	return serveCommands(func(command string) (any, error) {
		stop()
		on := command == "on"
		if on {
			sender.stop.Store(false)
			wg.Go(sender.write)
		}
		return on, nil
	})
}

type floodSender struct {
	sock           net.Conn
	raw            []byte
	window         int64
	sent, answered atomic.Int64
	room           chan struct{}
	stop           atomic.Bool
}

func (s *floodSender) read() {
	in := bufio.NewReaderSize(s.sock, 64<<10)
	for {
		m, err := bustest.ReadMessage(in)
		if err != nil {
			return
		}
		if m.Type != bustest.TypeSignal {
			s.answered.Add(1)
			select {
			case s.room <- struct{}{}:
			default:
			}
		}
	}
}

func (s *floodSender) write() {
	var chunk []byte
	for !s.stop.Load() {
		n := max(1, (32<<10)/len(s.raw))
		if s.window > 0 {
			for s.sent.Load()-s.answered.Load() >= s.window {
				<-s.room
			}
			n = min(n, int(s.window-(s.sent.Load()-s.answered.Load())))
		}
		chunk = chunk[:0]
		for range n {
			serial := uint32(s.sent.Add(1))
			binary.LittleEndian.PutUint32(s.raw[8:], serial)
			chunk = append(chunk, s.raw...)
		}
		if _, err := s.sock.Write(chunk); err != nil {
			return
		}
	}
}
