package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// chunkedSource is a source that returns at most next bytes at a time.
type chunkedSource struct {
	data []byte
	next func() int
	end  error // returned with the last data, and after it
}

func (s *chunkedSource) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), s.next())], s.data)
	s.data = s.data[n:]
	if len(s.data) == 0 {
		return n, s.end
	}
	return n, nil
}

// wantWiped checks that the buffer has zeros outside its data. The data of the tests has no zeros.
func wantWiped(t interface{ Fatalf(string, ...any) }, b *reader) {
	for i, c := range b.buf {
		if c != 0 && (i < b.r || i >= b.w) {
			t.Fatalf("byte %d of the buffer is not wiped, the data is at %d to %d", i, b.r, b.w)
		}
	}
}

// The reader returns the bytes of the source in order, and wipes those that were taken.
func TestReaderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := make([]byte, rapid.IntRange(0, 5*readBuffer/2).Draw(t, "size"))
		for i := range data {
			data[i] = byte(1 + i%251)
		}
		end := errors.New("end")
		size := rapid.SampledFrom([]int{1, 7, 1000, 30_000, readBuffer})
		b := newReader(&chunkedSource{data: data, next: func() int { return size.Draw(t, "portion") }, end: end})
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
					t.Fatal("Read returned no bytes and no error")
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
				t.Fatalf("%s of %d bytes, %d are left: wrong bytes", step, n, len(rest))
			}
			rest = rest[n:]
			wantWiped(t, b)
		}
	})
}

// A peek of the whole buffer succeeds at any position.
func TestReaderPeeksWholeBuffer(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 2*readBuffer+100)
	b := newReader(&chunkedSource{data: data, next: func() int { return readBuffer }, end: io.EOF})
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

// shift wipes the old place of the data.
func TestReaderShiftWipes(t *testing.T) {
	data := bytes.Repeat([]byte("x"), readBuffer+1000)
	portion := readBuffer
	b := newReader(&chunkedSource{data: data, next: func() int { return portion }, end: io.EOF})
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
		t.Errorf("the buffer has %d bytes, so shift was not called", b.w)
	}
}
