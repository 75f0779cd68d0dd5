package forward

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// application is the id of this program for [MachineID], drawn once at random.
const application = "e2a4c7f0b51d4c4b9d3f6a8871c05e1a"

// MachineID returns an ID of this machine that does not reveal its machine-id, like
// sd_id128_get_machine_app_specific(3).
func MachineID(path string) (string, error) {
	text, err := os.ReadFile(path) //nolint:gosec // /etc/machine-id, or that of a test
	if err != nil {
		return "", fmt.Errorf("identify this machine: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 16 {
		return "", fmt.Errorf("identify this machine: %s has no machine-id, see machine-id(5)", path)
	}
	id, _ := hex.DecodeString(application) // a constant
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(id) // never fails
	sum := mac.Sum(nil)[:16]
	sum[6] = sum[6]&0x0f | 0x40 // a random UUID, as id128 makes it
	sum[8] = sum[8]&0x3f | 0x80
	return hex.EncodeToString(sum), nil
}
