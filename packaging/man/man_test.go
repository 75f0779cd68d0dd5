package man

import (
	"bytes"
	"flag"
	"os"
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
	for _, want := range []string{
		`.SS "WaitEvents(s cursor, a{sv} filter, u max_events, u timeout_msec) \-> (s next_cursor, a(ssssstta{sv}) events)"`,
		`.B "Durable b"`, `.SS "Lapped(`, `.B "org.osctl.Eventd.Error.Gone"`, `.B "ct_netif"`, `.B "since (t)"`, `.B "source (s)"`,
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not have %s", want)
		}
	}
}

func TestRecipesManualPage(t *testing.T) {
	if err := Drift("osctl-eventd-recipes.7", RecipesPage(), *update); err != nil {
		t.Error(err)
	}
}

// TestReadmeRecipes wants the recipes of README.md on the page, where a test runs them.
func TestReadmeRecipes(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	for _, r := range Recipes() {
		page.WriteString(r.Code + "\n")
	}
	_, text, _ := strings.Cut(string(readme), "\n## Recipes\n")
	text, _, _ = strings.Cut(text, "\n## ")
	found := 0
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(line, "    ")
		if command, _ = strings.CutPrefix(command, "$ "); !ok || !strings.Contains(command, "ctl ") {
			continue
		}
		if found++; !strings.Contains(page.String(), command) {
			t.Errorf("no recipe has %s", command)
		}
	}
	if found < 5 {
		t.Errorf("README.md has %d recipes, want 5", found)
	}
}

// TestLanguages wants each line of the section on languages in the client that was run.
func TestLanguages(t *testing.T) {
	page, err := Interface()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range languages() {
		client, err := os.ReadFile(filepath.Join("../clients", l.client))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range l.lines {
			if !strings.Contains(string(client), line) || !strings.Contains(page.String(), escape(line)) {
				t.Errorf("%s: %q is not in the client, or not on the page", l.name, line)
			}
		}
	}
}

// TestLint has mandoc(1) read all pages.
func TestLint(t *testing.T) {
	pages, err := filepath.Glob("*.[1-8]")
	if err != nil || len(pages) != 5 {
		t.Fatalf("pages %v, %v", pages, err)
	}
	pages = append(pages, "../nats/osctl-eventd-nats.8")
	out, err := exec.Command("mandoc", append([]string{"-T", "lint", "-W", "warning"}, pages...)...).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

// TestItems checks that a continuation line stays in its item.
func TestItems(t *testing.T) {
	p := New("x", 1, "a")
	p.Text("- one: first\n  second: line\n- two: third")
	if want := ".TP\n.B \"one\"\nfirst\nsecond: line\n.TP\n.B \"two\"\nthird\n"; !strings.HasSuffix(p.String(), want) {
		t.Errorf("got %q, want the end %q", p.String(), want)
	}
	pages, err := filepath.Glob("*.[1-8]")
	if err != nil || len(pages) == 0 {
		t.Fatalf("pages %v, %v", pages, err)
	}
	for _, name := range pages {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(page, []byte("\n.B \" ")) {
			t.Errorf("a term in %s begins with a blank", name)
		}
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
