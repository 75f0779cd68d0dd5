package links

import (
	"strings"
	"time"
)

// Budget is how many changes may be announced: Burst at once, then one each Every.
type Budget struct {
	Burst int
	Every time.Duration
}

// InterfaceBudget is for one ifindex. ContainerBudget is for one container: its states, and all of its
// interfaces, whatever their ifindexes.
var (
	InterfaceBudget = Budget{Burst: 20, Every: time.Second}
	ContainerBudget = Budget{Burst: 100, Every: 200 * time.Millisecond}
)

// maxBuckets is how many containers have a bucket of their own: as many as are tracked.
const maxBuckets = 65536

// bucket is a token bucket. It stores only when it will be full again, so the zero bucket is full.
type bucket struct{ full time.Time }

// nextToken returns when there is a token. A past time means that there is one now.
func (b *bucket) nextToken(of Budget) time.Time {
	return b.full.Add(-of.Every * time.Duration(of.Burst-1))
}

// spend takes a token. If there is none, the bucket owes it.
func (b *bucket) spend(of Budget, now time.Time) {
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(of.Every)
}

// Budgets has a token bucket for each container with recent changes. All containers of one
// unprivileged user (their pool ends in @UID) share one, because a user can make any number of
// containers. It is for one goroutine.
//
// A Table draws on it for changes of interfaces, and its caller for states of containers. A row of the view, or a
// state, waits with its event until there is a token. Only the end of something that was announced before, such as
// the down of a deleted interface, is announced at once: Spend then takes the token.
type Budgets struct {
	ofInterface, ofContainer Budget
	buckets                  map[Owner]*bucket
	sweepAfter               time.Time // full buckets stay until then
}

// NewBudgets returns the buckets of containers, all of them full. The budgets are [InterfaceBudget] and
// [ContainerBudget], and in tests smaller ones.
func NewBudgets(ofInterface, ofContainer Budget) *Budgets {
	return &Budgets{ofInterface: ofInterface, ofContainer: ofContainer, buckets: map[Owner]*bucket{}}
}

// Take takes a token of a container if there is one. If not, there may be one at the time at.
func (b *Budgets) Take(owner Owner, now time.Time) (at time.Time, ok bool) {
	own := b.bucket(owner, now)
	if at = own.nextToken(b.ofContainer); now.Before(at) {
		return at, false
	}
	own.spend(b.ofContainer, now)
	return now, true
}

// Spend takes a token of a container. If there is none, the container owes it.
func (b *Budgets) Spend(owner Owner, now time.Time) {
	b.bucket(owner, now).spend(b.ofContainer, now)
}

// bucket returns the bucket of a container. Beyond maxBuckets containers share one.
func (b *Budgets) bucket(owner Owner, now time.Time) *bucket {
	if at := strings.LastIndexByte(owner.Pool, '@'); at >= 0 {
		owner = Owner{Pool: owner.Pool[at:]}
	}
	if own := b.buckets[owner]; own != nil {
		return own
	}
	if now.After(b.sweepAfter) {
		b.sweep(now)
	}
	if len(b.buckets) >= maxBuckets {
		owner = Owner{}
	}
	own := b.buckets[owner]
	if own == nil {
		own = &bucket{}
		b.buckets[owner] = own
	}
	return own
}

// sweep drops the full buckets, because a new bucket is full, too.
func (b *Budgets) sweep(now time.Time) {
	for owner, own := range b.buckets {
		if !now.Before(own.full) {
			delete(b.buckets, owner)
		}
	}
	b.sweepAfter = now.Add(time.Second)
}
