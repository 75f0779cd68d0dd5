package hub

import (
	"sync"
	"time"
)

// Limits of the queue of commits. Beyond them Submit returns [ErrBusy]. An empty queue takes a
// batch of any size.
const (
	maxQueued      = 1024     // batches
	maxQueuedBytes = 16 << 20 // of memory, about
)

// Batch is the unit of a commit: events, and the changes to the view of interfaces that belong to
// them. Either may be empty.
type Batch struct {
	Events     []*Event
	Interfaces []InterfaceChange
	// Place, if not empty, names the boot and the network namespace that the interfaces of
	// the view belong to from now on. The hub does not interpret it.
	Place string
	// NewStates leaves out each state event whose state the view of containers has already. A
	// container that is not in the view counts as stopped.
	NewStates bool
}

// size returns how many bytes of memory a batch takes, approximately.
func (b *Batch) size() int {
	n := len(b.Place)
	for _, e := range b.Events {
		n += e.size
	}
	for i := range b.Interfaces {
		row := &b.Interfaces[i].Interface
		n += interfaceOverhead + len(row.Veth) + len(row.Name) + len(row.Pool) + len(row.ID) + len(row.BoundBy)
	}
	return n
}

// interfaceOverhead is the size of an InterfaceChange without its texts, in bytes, approximately.
const interfaceOverhead = 160

// job is one entry of the queue: a batch, or work to do between two batches.
type job struct {
	batch Batch
	size  int
	done  func(first uint64, err error)
	work  func(*committer)
}

// committer commits batches in a goroutine. It exists only while the queue is not empty. If a write
// to the log hangs, a successor replaces it and continues without the log. The old one ends when
// the write returns.
type committer struct {
	hub *Hub
	// onReplaced completes the current job if its write hangs; the successor calls it. It is nil
	// between writes. Guarded by the queue's lock.
	onReplaced func()
}

// queue holds the jobs for the committer.
type queue struct {
	mu        sync.Mutex
	changed   sync.Cond // signaled when jobs leave the queue, and when the committer ends
	jobs      []job
	batches   int
	bytes     int // of the batches
	closed    bool
	committer *committer // nil while the queue is empty
}

// Commit commits a batch, all or none, and returns the number of its first event once subscribers
// can read it; the others have the numbers that follow. The events come from [NewEvent]; the hub
// owns them from now on. Commit waits for room in the queue and for the write to the log, but never
// for a subscriber. The error is [ErrClosed] or a [TooLargeError].
func (h *Hub) Commit(batch Batch) (first uint64, err error) {
	type result struct {
		first uint64
		err   error
	}
	committed := make(chan result, 1)
	err = h.enqueue(batch, true, func(first uint64, err error) { committed <- result{first, err} })
	if err != nil {
		return 0, err
	}
	r := <-committed
	return r.first, r.err
}

// Submit is [Hub.Commit] without waiting. Batches are committed in the order of submission. Unless
// Submit returns an error, the committer calls done exactly once, with the result of the commit;
// done may neither block nor call Commit. Until then the hub owns the batch. The error is
// [ErrClosed], a [TooLargeError], or [ErrBusy] if the queue is full.
func (h *Hub) Submit(batch Batch, done func(first uint64, err error)) error {
	return h.enqueue(batch, false, done)
}

func (h *Hub) enqueue(batch Batch, wait bool, done func(uint64, error)) error {
	if len(batch.Events) > MaxBatch {
		return &TooLargeError{What: "events in one batch", Got: len(batch.Events), Limit: MaxBatch}
	}
	size := batch.size()
	q := &h.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && (q.batches >= maxQueued || q.bytes > 0 && q.bytes+size > maxQueuedBytes) {
		if !wait {
			return ErrBusy
		}
		q.changed.Wait()
	}
	if q.closed {
		return ErrClosed
	}
	q.batches, q.bytes = q.batches+1, q.bytes+size
	h.add(job{batch: batch, size: size, done: done})
	return nil
}

// enqueueWork has the committer call work between two commits. It returns false if the hub is
// closed and the last commit is done.
func (h *Hub) enqueueWork(work func(*committer)) bool {
	q := &h.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed && q.committer == nil {
		return false
	}
	h.add(job{work: work})
	return true
}

// add appends a job. The caller holds the queue's lock.
func (h *Hub) add(j job) {
	q := &h.queue
	q.jobs = append(q.jobs, j)
	if q.committer == nil {
		q.committer = &committer{hub: h}
		go q.committer.run() // Close waits for the queue to be empty
	}
}

// next takes the next job. It returns false if there is none; then the committer must end.
func (c *committer) next() (j job, ok bool) {
	q := &c.hub.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.changed.Broadcast()
	if len(q.jobs) == 0 {
		q.jobs, q.committer = nil, nil
		return j, false
	}
	j, q.jobs[0] = q.jobs[0], job{}
	q.jobs = q.jobs[1:]
	if j.work == nil {
		q.batches, q.bytes = q.batches-1, q.bytes-j.size
	}
	return j, true
}

// run handles jobs until the queue is empty or the committer is replaced.
func (c *committer) run() {
	for {
		j, ok := c.next()
		switch {
		case !ok:
			return
		case j.work != nil:
			j.work(c)
		default:
			c.commit(&j)
		}
		if c.replaced() {
			return
		}
	}
}

func (c *committer) replaced() bool {
	q := &c.hub.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.committer != c
}

// commit numbers a batch, appends it to the log, and publishes it. It reads the views and the next
// number without the lock, because only the committer changes them.
func (c *committer) commit(j *job) {
	h := c.hub
	if j.batch.NewStates {
		j.batch.Events = h.views.newStates(j.batch.Events)
	}
	first := h.next
	now := time.Now().Round(0).Truncate(time.Microsecond)
	for i, e := range j.batch.Events {
		e.Seq = first + uint64(i)
		e.Time = now
	}
	names := namer{views: &h.views}
	names.nameEvents(j.batch.Events)
	publish := func() {
		h.publish(&j.batch)
		j.done(first, nil)
	}
	if !c.store(&j.batch, publish) {
		return // the successor publishes it
	}
	publish()
	c.rotate()
}

// publish makes a batch visible to readers.
func (h *Hub) publish(batch *Batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.views.apply(batch)
	h.waiters.budget = maxDirect + len(batch.Events)
	for _, e := range batch.Events {
		h.counters.addEvent(e.Type)
		h.push(e)
		h.waiters.wake(e)
	}
	h.startSweep()
	h.signalChange()
}

// write calls write, which writes to the log. If that takes too long, a successor replaces this
// committer and calls onReplaced. Then ok is false, and the caller must not touch the hub.
func (c *committer) write(write func() error, onReplaced func()) (ok bool, err error) {
	h, q := c.hub, &c.hub.queue
	q.mu.Lock()
	c.onReplaced = onReplaced
	limit := diskLimit
	if q.closed {
		limit = closePatience
	}
	q.mu.Unlock()
	timer := time.AfterFunc(limit, func() { h.replace(c) })
	slow := h.notifyWhenSlow()
	h.disk.begin(diskWrite)
	err = h.countCall(write)
	wasSlow := !slow.Stop()
	timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	c.onReplaced = nil
	if q.committer != c {
		return false, err
	}
	h.disk.end(diskWrite)
	if wasSlow {
		h.signalChange()
	}
	return true, err
}

// replace replaces a committer whose write hangs.
func (h *Hub) replace(c *committer) {
	h.queue.mu.Lock()
	defer h.queue.mu.Unlock()
	h.replaceLocked(c)
}

func (h *Hub) replaceLocked(c *committer) {
	q := &h.queue
	if q.committer != c || c.onReplaced == nil {
		return
	}
	onReplaced, next := c.onReplaced, &committer{hub: h}
	q.committer = next
	h.disk.end(diskWrite)
	h.buffer = nil // the hung write still reads from it
	go func() {
		h.abandonLog(errDiskHangs)
		onReplaced()
		next.run()
	}()
}

// drain closes the queue and waits until all its batches are committed. After closePatience it
// abandons the log, so that a slow disk cannot delay Close.
func (h *Hub) drain() {
	q := &h.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
	var timer *time.Timer
	timer = time.AfterFunc(closePatience, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.committer != nil {
			h.replaceLocked(q.committer)
			timer.Reset(closePatience / 20) // the committer may be between two writes
		}
	})
	defer timer.Stop()
	for q.committer != nil {
		q.changed.Wait()
	}
}
