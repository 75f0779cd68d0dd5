package buildversion

import (
	"runtime/debug"
	"testing"
)

func TestOf(t *testing.T) {
	if got := Of("v1.2.3"); got != "v1.2.3" {
		t.Errorf("the linker set v1.2.3, got %s", got)
	}
	for module, want := range map[string]string{"": unknown, "(devel)": unknown, "v1.2.3": "v1.2.3"} {
		if got := ofModule(&debug.BuildInfo{Main: debug.Module{Version: module}}, true); got != want {
			t.Errorf("module version %q: got %s, want %s", module, got, want)
		}
	}
	if got := ofModule(nil, false); got != unknown {
		t.Errorf("without build information: got %s", got)
	}
}
