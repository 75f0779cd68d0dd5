package wire

import "io"

const readBuffer = 64 << 10 // bytes

// reader buffers data from the bus. Unlike a bufio.Reader it wipes data that was taken, because
// bodies of calls may hold secrets.
type reader struct {
	src  io.Reader
	buf  []byte
	r, w int // buf[r:w] is not taken yet
}

func newReader(src io.Reader) *reader { return &reader{src: src, buf: make([]byte, readBuffer)} }

// peek returns the next n bytes, at most readBuffer, without taking them.
func (b *reader) peek(n int) ([]byte, error) {
	if b.r+n > len(b.buf) {
		b.shift()
	}
	for b.w-b.r < n {
		read, err := b.src.Read(b.buf[b.w:])
		b.w += read
		if err != nil && b.w-b.r < n {
			return nil, err
		}
	}
	return b.buf[b.r : b.r+n], nil
}

// shift moves the data to the front, and wipes its old place.
func (b *reader) shift() {
	n := copy(b.buf, b.buf[b.r:b.w])
	clear(b.buf[max(n, b.r):b.w])
	b.r, b.w = 0, n
}

// take removes and wipes n bytes after a peek.
func (b *reader) take(n int) {
	clear(b.buf[b.r : b.r+n])
	if b.r += n; b.r == b.w {
		b.r, b.w = 0, 0
	}
}

// readFull fills p.
func (b *reader) readFull(p []byte) error {
	for len(p) > 0 {
		part, err := b.peek(min(len(p), max(b.w-b.r, 1)))
		if err != nil {
			return err
		}
		n := copy(p, part)
		b.take(n)
		p = p[n:]
	}
	return nil
}

// skip takes n bytes and discards them.
func (b *reader) skip(n int) error {
	for n > 0 {
		part, err := b.peek(min(n, max(b.w-b.r, 1)))
		if err != nil {
			return err
		}
		n -= len(part)
		b.take(len(part))
	}
	return nil
}

// Read implements io.Reader.
func (b *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := b.peek(1); err != nil {
		return 0, err
	}
	n := copy(p, b.buf[b.r:b.w])
	b.take(n)
	return n, nil
}
