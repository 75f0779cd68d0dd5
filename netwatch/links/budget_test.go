package links

import (
	"fmt"
	"testing"
	"time"
)

func newBudgets() *Budgets { return NewBudgets(InterfaceBudget, ContainerBudget) }

// takeAll takes tokens until there is none.
func takeAll(b *Budgets, owner Owner, now time.Time) (taken int, next time.Time) {
	for {
		at, ok := b.Take(owner, now)
		if !ok {
			return taken, at
		}
		taken++
	}
}

func TestBudgetOfContainer(t *testing.T) {
	b, now := newBudgets(), time.Unix(1000, 0)
	web, db := Owner{"lxc", "web"}, Owner{"lxc", "db"}
	wants := func(owner Owner, want int) time.Time {
		t.Helper()
		n, next := takeAll(b, owner, now)
		if n != want || !next.After(now) {
			t.Fatalf("%d at once, want %d; next %v", n, want, next.Sub(now))
		}
		return next
	}
	next := wants(web, ContainerBudget.Burst)
	wants(db, ContainerBudget.Burst)
	if want := now.Add(ContainerBudget.Every); next != want {
		t.Errorf("room at %v, want %v", next, want)
	}
	now = next
	next = wants(web, 1)
	b.Spend(web, now) // owes one
	now = next
	if wants(web, 0) != now.Add(ContainerBudget.Every) {
		t.Error("the owed token is not paid back")
	}
	now = now.Add(time.Hour)
	wants(web, ContainerBudget.Burst)
}

// TestBudgetOfUser expects the containers of one user to share a budget.
func TestBudgetOfUser(t *testing.T) {
	b, now := newBudgets(), time.Unix(1000, 0)
	taken := 0
	for i := range 500 {
		if _, ok := b.Take(Owner{[]string{"podman@1000", "lxc@1000"}[i%2], fmt.Sprint(i)}, now); ok {
			taken++
		}
	}
	if _, other := b.Take(Owner{"podman@1001", "0"}, now); taken != ContainerBudget.Burst || !other {
		t.Errorf("%d at once; another user has a token: %v", taken, other)
	}
}

// TestBudgetsAreBounded expects full buckets to be dropped, and no more than maxBuckets.
func TestBudgetsAreBounded(t *testing.T) {
	b, now := newBudgets(), time.Unix(1000, 0)
	for i := range maxBuckets + 1000 {
		b.Take(Owner{"lxc", fmt.Sprint(i)}, now)
		if i == 0 {
			takeAll(b, Owner{"lxc", "first"}, now)
		}
	}
	if n := len(b.buckets); n > maxBuckets+1 {
		t.Errorf("%d buckets", n)
	}
	if n, _ := takeAll(b, Owner{"lxc", "first"}, now); n != 0 {
		t.Errorf("a bucket that is not full was dropped: it has %d tokens", n)
	}
	now = now.Add(time.Minute)
	b.Take(Owner{"lxc", "last"}, now)
	if n := len(b.buckets); n != 1 {
		t.Errorf("%d buckets after a long time", n)
	}
}
