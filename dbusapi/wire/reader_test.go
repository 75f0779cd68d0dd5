package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// portions is a source that gives as much at a time as next says.
type portions struct {
	data []byte
	next func() int
	end  error // after the data, and with the last of it
}

func (s *portions) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), s.next())], s.data)
	s.data = s.data[n:]
	if len(s.data) == 0 {
		return n, s.end
	}
	return n, nil
}

// wantWiped expects nothing in the buffer but what was not taken yet. The tests read no
// zero bytes.
func wantWiped(t interface{ Fatalf(string, ...any) }, b *reader) {
	for i, c := range b.buf {
		if c != 0 && (i < b.r || i >= b.w) {
			t.Fatalf("byte %d of the buffer is left, %d to %d are not taken yet", i, b.r, b.w)
		}
	}
}

// Whatever is asked for, the reader gives the bytes of the source in order, and keeps none
// that was taken.
func TestReaderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := make([]byte, rapid.IntRange(0, 5*readBuffer/2).Draw(t, "size"))
		for i := range data {
			data[i] = byte(1 + i%251)
		}
		end := errors.New("end")
		size := rapid.SampledFrom([]int{1, 7, 1000, 30_000, readBuffer})
		b := newReader(&portions{data: data, next: func() int { return size.Draw(t, "portion") }, end: end})
		rest := data
		sizes := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, readBuffer))
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			n := sizes.Draw(t, "n")
			step := rapid.SampledFrom([]string{"take", "fill", "skip", "read"}).Draw(t, "step")
			got := make([]byte, n)
			var err error
			switch step {
			case "take":
				var peeked []byte
				if peeked, err = b.peek(n); err == nil {
					copy(got, peeked)
					b.take(n)
				}
			case "fill":
				err = b.readFull(got)
			case "skip":
				if err = b.skip(n); err == nil {
					copy(got, rest)
				}
			case "read":
				if n, err = b.Read(got); n == 0 && err == nil && len(got) > 0 {
					t.Fatal("Read gives nothing")
				}
				got = got[:n]
			}
			if err != nil {
				if !errors.Is(err, end) || step != "read" && n <= len(rest) || step == "read" && len(rest) > 0 {
					t.Fatalf("%s of %d bytes, %d are left: %v", step, n, len(rest), err)
				}
				return
			}
			if n > len(rest) || !bytes.Equal(got, rest[:n]) {
				t.Fatalf("%s of %d bytes, %d are left: they are others", step, n, len(rest))
			}
			rest = rest[n:]
			wantWiped(t, b)
		}
	})
}

// The largest header fits wherever the one before it ended.
func TestReaderPeeksWholeBuffer(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 2*readBuffer+100)
	b := newReader(&portions{data: data, next: func() int { return readBuffer }, end: io.EOF})
	for _, n := range []int{100, readBuffer, readBuffer} {
		if p, err := b.peek(n); err != nil || len(p) != n {
			t.Fatalf("%d bytes, %v, want %d", len(p), err, n)
		}
		b.take(n)
		wantWiped(t, b)
	}
	if _, err := b.peek(1); !errors.Is(err, io.EOF) {
		t.Error("at the end:", err)
	}
}

// What was moved to the front is not left where it was.
func TestReaderShiftWipes(t *testing.T) {
	data := bytes.Repeat([]byte("x"), readBuffer+1000)
	portion := readBuffer
	b := newReader(&portions{data: data, next: func() int { return portion }, end: io.EOF})
	if _, err := b.peek(1); err != nil {
		t.Fatal(err)
	}
	b.take(readBuffer - 500)
	portion = 1
	if p, err := b.peek(501); err != nil || len(p) != 501 {
		t.Fatal(len(p), err)
	}
	wantWiped(t, b)
	if b.w != 501 {
		t.Errorf("%d bytes are there: the test does not test what it should", b.w)
	}
}
