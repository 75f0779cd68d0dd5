package fleettest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy is a TCP proxy to a server. Tests can cut its connections.
type Proxy struct {
	URL string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// StartProxy starts a proxy to a server. It ends with the test.
func StartProxy(tb testing.TB, server *Server) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{URL: "nats://" + listener.Addr().String(), conns: map[net.Conn]bool{}}
	var working sync.WaitGroup
	working.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			working.Go(func() { p.serve(client, strings.TrimPrefix(server.URL, "nats://")) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		working.Wait()
	})
	return p
}

func (p *Proxy) serve(client net.Conn, address string) {
	server, err := net.Dial("tcp", address) //nolint:noctx // on loopback
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	cut := p.cut
	p.mu.Unlock()
	if cut {
		p.Cut()
	}
	var copying sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		copying.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = client.Close()
			_ = server.Close()
		})
	}
	copying.Wait()
}

// Cut closes all connections, and each new one until Mend is called.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// Mend accepts connections again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}
