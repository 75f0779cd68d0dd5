package bus

import (
	"runtime"
	"testing"
	"weak"
)

// An empty fifo does not keep the last popped value in memory.
func TestFifoFreesPoppedValues(t *testing.T) {
	var l fifo[*[64 << 10]byte]
	push := func() weak.Pointer[[64 << 10]byte] {
		value := new([64 << 10]byte)
		l.push(value)
		return weak.Make(value)
	}
	first, second := push(), push()
	l.pop()
	l.pop()
	runtime.GC()
	if first.Value() != nil || second.Value() != nil {
		t.Errorf("popped values are in memory: first %v, second %v", first.Value() != nil, second.Value() != nil)
	}
	runtime.KeepAlive(&l)
}
