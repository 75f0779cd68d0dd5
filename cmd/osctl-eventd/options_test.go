package main

import (
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		code   int
		stdout string // contained in it
		stderr string
	}{
		{"version", []string{"--version"}, 0, "osctl-eventd " + version, ""},
		{"help", []string{"--help"}, 0, "--state-dir DIR", ""},
		{"argument", []string{"now"}, exitUsage, "", `unexpected argument "now"`},
		{"flag", []string{"--buss", "system"}, exitUsage, "", "--buss"},
		{"bus", []string{"--bus", "nowhere"}, exitUsage, "", `bus "nowhere": expected system, session`},
		{"history", []string{"--history", "0"}, exitUsage, "", "--history 0: expected 1 to"},
		{"history text", []string{"--history", "many"}, exitUsage, "", "many"},
		{"level", []string{"--log-level", "loud"}, exitUsage, "", `--log-level "loud": expected debug`},
		{"state-dir", []string{"--state-dir", ""}, exitUsage, "", "--state-dir is empty"},
		{"log-size small", []string{"--log-size", "10K"}, exitUsage, "", "expected 64K to 4G bytes"},
		{"log-size large", []string{"--log-size", "99999999999G"}, exitUsage, "", "expected 64K to 4G bytes"},
		{"log-size text", []string{"--log-size", "much"}, exitUsage, "", "expected 64K to 4G bytes, as in 32M"},
		{"no bus", []string{"--bus", "unix:path=/nonexistent/socket", "--state-dir", stateNone}, exitFailure, "", "/nonexistent/socket"},
		{"no transport", []string{"--bus", "tcp:host=localhost", "--state-dir", stateNone}, exitFailure, "", "only unix: addresses"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			if code := run(test.args, &stdout, &stderr, false); code != test.code {
				t.Errorf("exit status %d, want %d", code, test.code)
			}
			if !strings.Contains(stdout.String(), test.stdout) {
				t.Errorf("stdout %q, want %q in it", &stdout, test.stdout)
			}
			if !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stderr %q, want %q in it", &stderr, test.stderr)
			}
		})
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{"65536": 64 << 10, "64K": 64 << 10, "32m": 32 << 20, "4G": 4 << 30, "65537": 65537} {
		var got byteSize
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("Set(%q) = %d, %v, want %d", text, got, err, want)
		}
		var again byteSize
		if err := again.Set(got.String()); err != nil || again != got {
			t.Errorf("Set(%q) = %d, %v, want %d", got.String(), again, err, got)
		}
	}
}
