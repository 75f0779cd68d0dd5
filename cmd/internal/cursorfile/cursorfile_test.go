package cursorfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/osctl/eventd/dbusapi/bustest"
)

// open opens a file whose cursors begin with "e:".
func open(path string) (*File, error) {
	return Open(path, func(cursor string) error {
		if !strings.HasPrefix(cursor, "e:") {
			return errors.New("no cursor")
		}
		return nil
	})
}

// TestFile opens files that are no regular files, and a link to a cursor file.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	text := func(name string) string {
		data, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, do := range map[string]func(string) error{
		"pipe":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"device":    func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, 1<<8|3) }, // as /dev/null
		"to pipe":   func(p string) error { return os.Symlink("pipe", p) },
	} {
		if err := do(path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"pipe", "directory", "device", "to pipe"} {
		if _, err := open(path(name)); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("opening a %s: %v", name, err)
		}
	}
	if err := os.WriteFile(path("file"), []byte("e:1\n\n\n"), 0o600); err != nil { // killed before Truncate
		t.Fatal(err)
	}
	if err := os.Link(path("file"), path("other name")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", path("link")); err != nil {
		t.Fatal(err)
	}
	f, err := open(path("link"))
	if err != nil || f.Cursor() != "e:1" || text("file") != "e:1\n" {
		t.Fatal(f, err, text("file"))
	}
	for _, cursor := range []string{"e:2", "e:10", "e:3"} {
		if _, err := open(path("file")); err == nil || !strings.Contains(err.Error(), "another run uses it") {
			t.Errorf("opening a file in use: %v", err)
		}
		if err := f.Save(cursor); err != nil || text("file") != cursor+"\n" || text("other name") != cursor+"\n" {
			t.Errorf("saved %s as %q and %q, %v", cursor, text("file"), text("other name"), err)
		}
	}
	if err := f.file.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = open(path("file")); err != nil || f.Cursor() != "e:3" {
		t.Error("opening the file after the other run ended:", f, err)
	}
	info, err := os.Lstat(path("file"))
	if err != nil || info.Mode() != 0o600 {
		t.Error("the file's mode is now", info.Mode(), err)
	}
	if info, err := os.Lstat(path("link")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is now", info.Mode(), err)
	}
}

// TestLink checks that a dangling link and another user's link are refused.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if _, err := open(link); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a dangling link: %v", err)
	}
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(link, bustest.NobodyUID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := open(link); err == nil || !strings.Contains(err.Error(), "a link that user 65534 made") {
		t.Errorf("another user's link: %v", err)
	}
	if text, err := os.ReadFile(target); err != nil || len(text) > 0 {
		t.Errorf("the target of another user's link holds %q, %v", text, err)
	}
}
