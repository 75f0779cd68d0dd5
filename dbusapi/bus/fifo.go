package bus

// fifo is a linked queue, which keeps no memory of popped values. The zero fifo is empty.
type fifo[T any] struct{ first, last *node[T] }

type node[T any] struct {
	value T
	next  *node[T]
}

func (l *fifo[T]) empty() bool { return l.first == nil }

func (l *fifo[T]) push(value T) {
	n := &node[T]{value: value}
	if l.first == nil {
		l.first = n
	} else {
		l.last.next = n
	}
	l.last = n
}

// pop removes the first value. The queue must not be empty.
func (l *fifo[T]) pop() T {
	n := l.first
	if l.first = n.next; l.first == nil {
		l.last = nil // it would keep the value
	}
	return n.value
}
