package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
)

// The service accepts batches that are full by number or by size.
func TestBatch(t *testing.T) {
	t.Parallel()
	bus := bustest.Start(t, bustest.Daemon, bustest.PolicyOpen)
	h := apitest.NewHub(t, hub.Config{})
	serve(t, bus, h)
	c := connect(t, bus)
	small := Report{Type: "x"}
	large := Report{Type: "large", Options: apitest.Options("text", strings.Repeat("x", 60_000), "a", "b")}
	mixed := hub.Options{{Name: "n", Value: hub.Dict("s", "v", []hub.Value{hub.String("k"), hub.Variant(hub.Int64(1))})}}
	var b Batch
	next := uint64(1)
	for _, test := range []struct {
		report Report
		fits   int
	}{{small, MaxEvents}, {large, 17}, {Report{Type: "mixed", Options: mixed}, MaxEvents}} {
		for range test.fits {
			if err := b.Add(test.report); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Add(test.report); !errors.Is(err, ErrBatchFull) || len(b.reports) != test.fits {
			t.Errorf("%s: %d fit, then %v; want %d", test.report.Type, len(b.reports), err, test.fits)
		}
		first, err := c.ReportBatch(apitest.Bounded(t), b.Take())
		if err != nil || first != next || len(b.reports) != 0 {
			t.Errorf("%s: ReportBatch = %d, %v, want %d", test.report.Type, first, err, next)
		}
		next += uint64(test.fits)
	}
	if status := h.Status(); status.Last != next-1 {
		t.Errorf("the hub has %d events, want %d", status.Last, next-1)
	}
	var invalid *hub.InvalidEventError
	if err := b.Add(Report{Type: "x\xff"}); !errors.As(err, &invalid) || len(b.reports) != 0 {
		t.Errorf("text that cannot be sent: %v", err)
	}
	// The service refuses a report that is too large for any batch.
	if err := b.Add(Report{Type: "x", Options: apitest.Options("text", strings.Repeat("x", 70_000))}); err != nil {
		t.Error(err)
	}
	_, err := c.ReportBatch(apitest.Bounded(t), b.Take())
	apitest.WantError(t, err, ErrTooLarge)
}
