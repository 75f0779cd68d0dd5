package dbusapi

import (
	"context"
	"time"

	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// changesInterval is how often PropertiesChanged is sent at most.
const changesInterval = time.Second

// moves reports whether a property moves with each event. PropertiesChanged says of such a one
// only that it changed: whoever wants the value asks for it.
func moves(name string) bool {
	switch name {
	case "LastSequence", "OldestSequence", "Cursor", "Counters":
		return true
	}
	return false
}

// announcer sends PropertiesChanged in one session, so that a proxy that keeps the properties is
// not wrong for good. It is one goroutine, which sleeps until the hub or Check wakes it.
type announcer struct {
	service *Service
	told    map[string]string // what the peers know: encoded values, by property
}

// newAnnouncer is called before the name is owned: peers ask for the properties after that.
func newAnnouncer(s *Service) *announcer {
	return &announcer{service: s, told: encoded(s.properties())}
}

// encoded returns the values of properties in a form that can be compared.
func encoded(properties hub.Options) map[string]string {
	all := make(map[string]string, len(properties))
	for i := range properties {
		e := wire.NewEncoder(nil)
		e.Variant(properties[i].Value)
		all[properties[i].Name] = string(e.Bytes)
	}
	return all
}

// sendChanges sends PropertiesChanged: properties with their values, and names of others.
type sendChanges func(ctx context.Context, changed hub.Options, invalidated []string) error

// run tells changes, at most one signal in changesInterval, until ctx is done or send fails. What
// changes meanwhile leaves a token, so the last change is told too.
func (a *announcer) run(ctx context.Context, send sendChanges) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.service.Hub.Changed():
		case <-a.service.checked:
		}
		if err := a.announce(ctx, send); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(changesInterval):
		}
	}
}

// announce sends what changed, if anything did.
func (a *announcer) announce(ctx context.Context, send sendChanges) error {
	properties := a.service.properties()
	now := encoded(properties)
	var changed hub.Options
	var invalidated []string
	for _, p := range properties {
		switch {
		case now[p.Name] == a.told[p.Name]:
		case moves(p.Name):
			invalidated = append(invalidated, p.Name)
		default:
			changed = append(changed, p)
		}
	}
	if len(changed) == 0 && len(invalidated) == 0 {
		return nil
	}
	a.told = now
	return send(ctx, changed, invalidated)
}

// changesSignal returns what sends PropertiesChanged over a bus.
func changesSignal(b *bus.Bus) sendChanges {
	return func(ctx context.Context, changed hub.Options, invalidated []string) error {
		h := &wire.Header{Path: wire.Path, Interface: propertiesInterface, Member: "PropertiesChanged", Signature: "sa{sv}as"}
		return b.Signals(ctx, func(s *bus.Signals) {
			s.Add(h, 0, func(e *wire.Encoder) {
				e.String(wire.Interface)
				e.Options(changed)
				e.Value(hub.Strings(invalidated...))
			})
		})
	}
}
