package hub

import (
	"reflect"
	"testing"
)

func TestSizesOfEvents(t *testing.T) {
	for _, c := range []struct {
		typ  reflect.Type
		size uintptr
	}{
		{reflect.TypeFor[Event](), eventBytes},
		{reflect.TypeFor[Option](), optionBytes},
		{reflect.TypeFor[Value](), valueBytes},
		{reflect.TypeFor[compound](), compoundBytes},
	} {
		if c.typ.Size() != c.size {
			t.Errorf("%v has %d bytes, the constant says %d", c.typ, c.typ.Size(), c.size)
		}
	}
}
