package man

import (
	"bytes"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the manual page anew")

func TestInterface(t *testing.T) {
	page, err := Interface()
	if err != nil {
		t.Fatal(err)
	}
	if err := Drift("org.osctl.Eventd.5", page, *update); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`.SS "WaitEvents(s cursor, a{sv} filter, u max_events, u timeout_msec) \-> (s next_cursor, a(ssssstta{sv}) events)"`, `.B "Durable b"`, ".SS \"Lapped(",
		".TP\n.B \"org.osctl.Eventd.Error.Gone\"\n", ".TP\n.B \"ct_netif\"\n", ".TP\n.B \"since (t)\"\n", ".TP\n.B \"source (s)\"\n"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not have %s", want)
		}
	}
}

// TestLint has mandoc(1) read all pages.
func TestLint(t *testing.T) {
	pages, err := filepath.Glob("*.[1-8]")
	if err != nil || len(pages) != 3 {
		t.Fatalf("pages %v, %v", pages, err)
	}
	out, err := exec.Command("mandoc", append([]string{"-T", "lint", "-W", "warning"}, pages...)...).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

func TestEscape(t *testing.T) {
	p := New("x", 1, "a-b")
	p.Text(".TH evil\n'so /etc/passwd\n\\fB")
	for _, want := range []string{"a\\-b", "\n\\&.TH evil\n", "\n\\(aqso /etc/passwd\n", "\n\\efB\n"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("%q is not in %q", want, p.String())
		}
	}
}
