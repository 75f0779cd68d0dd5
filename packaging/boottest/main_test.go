package boottest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what must come. It is no measure of speed.
const patience = 2 * time.Minute

// The versions of the package that are tested.
const (
	firstVersion  = "1.0.0"
	secondVersion = "1.0.1"
)

// sourceDate is the time of files in a package.
const sourceDate = "SOURCE_DATE_EPOCH=1790000000"

// packages is the directory with the packages, built once.
var packages string //nolint:gochecknoglobals // set by TestMain alone

func TestMain(m *testing.M) {
	// The tests wait more than they compute: for systems that boot, and for the watchdog.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil { // -parallel is read later
		panic(err)
	}
	dir, err := os.MkdirTemp("", "boottest-")
	if err == nil {
		packages = dir
		err = buildPackages()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the packages:", err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// buildPackages builds the programs and the packages as the Makefile does, but without
// compression, which takes most of the time, and leaves the tree alone.
func buildPackages() error {
	for _, version := range []string{firstVersion, secondVersion} {
		ldflags := "-s -w -X main.version=" + version
		if err := build(version, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", binaries(version)+"/", "./cmd/..."); err != nil {
			return err
		}
		if err := build(version, "packaging/package.sh", "deb", version); err != nil {
			return err
		}
	}
	for _, beside := range []string{"osctl-eventd-nats", "cockpit-osctl-eventd"} {
		if err := build(firstVersion, "packaging/package.sh", "deb", firstVersion, beside); err != nil {
			return err
		}
	}
	return nil
}

// binaries returns the directory of the programs of a version.
func binaries(version string) string { return filepath.Join(packages, version) }

func build(version string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "FAST=1", "BIN="+binaries(version), "DIST="+packages, sourceDate)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

// deb returns the file of a package for Debian.
func deb(t *testing.T, version string) string {
	return packageFile(t, "osctl-eventd_"+version+"_*.deb")
}

func packageFile(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(packages, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages %s: %q, %v", pattern, found, err)
	}
	return found[0]
}
