package dbusapi

import (
	"fmt"
	"testing"

	"github.com/osctl/eventd/dbusapi/wire"
	"github.com/osctl/eventd/hub"
)

// The limit applies to an event after redaction, which may enlarge it.
func TestRedactedSize(t *testing.T) {
	read := func(n int) (*hub.Event, error) {
		fields := make([]hub.Value, 100)
		for i := range fields {
			fields[i] = hub.Strings()
		}
		items := make([]hub.Value, 0, 2*n)
		for i := range n {
			items = append(items, hub.String(fmt.Sprint("password", i)), hub.Struct(fields))
		}
		e := wire.NewEncoder(nil)
		e.String("test")
		e.Options(hub.Options{{Name: "opts", Value: hub.Dict("s", items[1].Type(), items)}})
		return readEvent(wire.NewDecoder(string(e.Bytes), false), "uid:0")
	}
	if event, err := read(20); err != nil || len(wire.EncodeEvent(event)) < 20*100*16 {
		t.Errorf("an event that grows within the limit: %v", err)
	}
	if _, err := read(100); err == nil || toError(err).Name != wire.ErrTooLarge {
		t.Errorf("an event that grows over the limit: %v", err)
	}
}
