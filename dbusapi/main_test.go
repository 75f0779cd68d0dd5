package dbusapi

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if !childMain() {
		goleak.VerifyTestMain(m)
	}
}
