package packaging_test

import (
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkLinks wants each link of a page, beside those into the net, to lead to a file, and to a
// heading of it if the link names one. It returns how many there are.
func checkLinks(t *testing.T, page string) (links int) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		target, err := url.Parse(link[1] + link[2])
		if err != nil || target.Scheme != "" {
			continue
		}
		links++
		file := page
		if target.Path != "" {
			file = filepath.Join(filepath.Dir(page), target.Path)
		}
		found, err := os.ReadFile(file)
		if info, _ := os.Stat(file); info != nil && info.IsDir() {
			err = nil
		}
		if err != nil || target.Fragment != "" && !hasHeading(string(found), target.Fragment) {
			t.Errorf("%s: %s leads nowhere: %v", page, target, err)
		}
	}
	return links
}

// hasHeading reports whether a page has a heading that GitHub gives that anchor.
func hasHeading(page, anchor string) bool {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		text := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(text, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// pages returns the files below a directory with a name that ends so.
func pages(t *testing.T, root, suffix string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "dist"):
			return filepath.SkipDir
		case strings.HasSuffix(path, suffix):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLinks(t *testing.T) {
	links := 0
	for _, page := range pages(t, "..", ".md") {
		links += checkLinks(t, page)
	}
	if links < 10 {
		t.Errorf("only %d links were found", links)
	}
}

// TestInstalledLinks wants the same of the pages where the packages have them.
func TestInstalledLinks(t *testing.T) {
	bin, root := t.TempDir(), t.TempDir()
	for _, program := range []string{"osctl-eventd", "osctl-eventctl", "osctl-eventd-nats", "osctl-eventd-runtimes"} {
		if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, script := range []string{"./install.sh", "./nats/install.sh", "./cockpit/install.sh"} {
		cmd := exec.Command(script, "install")
		cmd.Env = append(os.Environ(), "BIN="+bin, "DESTDIR="+root, "PREFIX=/usr")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	links := 0
	for _, page := range pages(t, root, ".md") {
		links += checkLinks(t, page)
	}
	if links < 10 {
		t.Errorf("only %d links were found", links)
	}
}

// TestNamedFiles wants the files and the manual pages that the pages, manual pages and units
// name to be there.
func TestNamedFiles(t *testing.T) {
	files := regexp.MustCompile("`((?:cmd|dbusapi|hub|netwatch|packaging|systemd|\\.github|\\.ci)/[\\w./-]*)`")
	manuals := regexp.MustCompile(`\b(osctl-event[\w-]*|org\.osctl\.Eventd)\((\d)\)`)
	texts := append(pages(t, "..", ".md"), pages(t, "../systemd", "service")...)
	for section := range strings.SplitSeq("1 5 7 8", " ") {
		texts = append(texts, pages(t, ".", "."+section)...)
	}
	found := 0
	for _, page := range texts {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), `\-`, "-")
		var want [][]string // of which one must be there
		for _, m := range files.FindAllStringSubmatch(text, -1) {
			want = append(want, []string{"../" + m[1]})
		}
		for _, m := range manuals.FindAllStringSubmatch(text, -1) {
			want = append(want, []string{"man/" + m[1] + "." + m[2], "nats/" + m[1] + "." + m[2]})
		}
		found += len(want)
		for _, candidates := range want {
			there := false
			for _, path := range candidates {
				_, err := os.Stat(path)
				there = there || err == nil
			}
			if !there {
				t.Errorf("%s names %s, which is not there", page, candidates[0])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d files are named", found)
	}
}
