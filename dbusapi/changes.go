package dbusapi

import (
	"context"
	"time"

	"github.com/osctl/eventd/dbusapi/bus"
	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// changesInterval is the shortest time between two PropertiesChanged.
const changesInterval = time.Second

// changesWithEvents reports whether a property changes with each event. PropertiesChanged invalidates
// such properties, without their values.
func changesWithEvents(name string) bool {
	switch name {
	case "LastSequence", "OldestSequence", "Cursor", "Counters":
		return true
	}
	return false
}

// announcer sends PropertiesChanged in one session, for proxies that cache properties. It is one
// goroutine, which sleeps until the hub or Check wakes it.
type announcer struct {
	service *Service
	sent    map[string]string // encoded values by property, as last sent
}

// newAnnouncer must be called before the name is owned, because clients read the properties after that.
func newAnnouncer(s *Service) *announcer {
	return &announcer{service: s, sent: encodeProperties(s.properties())}
}

// encodeProperties returns the values of properties in a comparable form.
func encodeProperties(properties hub.Options) map[string]string {
	all := make(map[string]string, len(properties))
	for i := range properties {
		e := wire.NewEncoder(nil)
		e.Variant(properties[i].Value)
		all[properties[i].Name] = string(e.Bytes)
	}
	return all
}

// sendChanges sends PropertiesChanged: properties with their values, and names of invalidated ones.
type sendChanges func(ctx context.Context, changed hub.Options, invalidated []string) error

// run sends changes, at most one signal in changesInterval, until ctx is done or send fails. A change
// during the interval leaves a token, so the last change is sent, too.
func (a *announcer) run(ctx context.Context, send sendChanges) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.service.Hub.Changed():
		case <-a.service.recheck:
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

// announce sends the changed properties, if there are any.
func (a *announcer) announce(ctx context.Context, send sendChanges) error {
	properties := a.service.properties()
	now := encodeProperties(properties)
	var changed hub.Options
	var invalidated []string
	for _, p := range properties {
		switch {
		case now[p.Name] == a.sent[p.Name]:
		case changesWithEvents(p.Name):
			invalidated = append(invalidated, p.Name)
		default:
			changed = append(changed, p)
		}
	}
	if len(changed) == 0 && len(invalidated) == 0 {
		return nil
	}
	a.sent = now
	return send(ctx, changed, invalidated)
}

// changesSignal returns a function that sends PropertiesChanged over a bus.
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
