package client

import (
	"errors"

	"github.com/osctl/eventd/dbusapi/wire"
)

// Batch collects reports for one [Client.ReportBatch] call, up to its limits. Report those that [Batch.Take]
// returns. The zero Batch is empty and ready for use.
type Batch struct {
	reports []Report
	bytes   int // of the body of the call, at most
}

// ErrBatchFull is the error of [Batch.Add] for a report that does not fit.
var ErrBatchFull = errors.New("client: the batch is full")

// Add adds a report. It returns [ErrBatchFull] if the report does not fit: report the batch and add the
// report again. An empty batch accepts any size, because the service refuses a report that is too
// large. Options that cannot be sent are refused with a [hub.InvalidEventError].
func (b *Batch) Add(r Report) error {
	if err := r.check(); err != nil {
		return err
	}
	e := wire.NewEncoder(nil)
	e.String(r.Type)
	e.Options(r.Options)
	size := len(e.Bytes) + 16 // for alignment to 8, of the report and of its options
	if len(b.reports) > 0 && (len(b.reports) == wire.MaxEvents || b.bytes+size > wire.MaxBatchBytes) {
		return ErrBatchFull
	}
	b.reports = append(b.reports, r)
	b.bytes += size
	return nil
}

// Take returns the reports and empties the batch.
func (b *Batch) Take() []Report {
	reports := b.reports
	*b = Batch{}
	return reports
}
