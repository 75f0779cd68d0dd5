package cttest

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// initScript is process 1 of all containers. Busybox's own init takes two seconds
// to halt. Without the wait, a signal would be handled only once sleep ends.
const initScript = `#!/bin/sh
trap 'poweroff -f' USR1 PWR
trap 'reboot -f' INT TERM
while :; do sleep 1000 & wait $!; done
`

// Rootfs returns the directory of a small system for containers of any kind:
// busybox, and an /sbin/init that powers off on SIGUSR1 and reboots on SIGTERM. Many
// containers may run from it at once, read-only. Do not change it. The first call
// makes it.
func (h *Host) Rootfs() (string, error) { return h.rootfs() }

// makeRootfs makes the small system.
func (h *Host) makeRootfs() (string, error) {
	root := filepath.Join(h.dir, "rootfs")
	busybox, err := staticBusybox()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{
		"bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr", "var", "lib",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil { //nolint:gosec // for mapped uids
			return "", err
		}
	}
	for name, content := range map[string]string{
		"bin/busybox": busybox, "bin/init": initScript,
		"etc/os-release": "ID=busybox\nNAME=busybox\n", // else systemd-nspawn refuses it
	} {
		err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o755) //nolint:gosec // as above
		if err != nil {
			return "", err
		}
	}
	out, err := run(command("busybox", "--list"))
	if err != nil {
		return "", err
	}
	links := map[string]string{"sbin": "bin", "usr/bin": "../bin", "usr/sbin": "../bin"}
	for applet := range strings.FieldsSeq(out) {
		if applet != "busybox" && applet != "init" {
			links["bin/"+applet] = "busybox"
		}
	}
	for link, target := range links {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			return "", err
		}
	}
	return root, nil
}

// staticBusybox returns the content of a busybox that needs no libraries.
func staticBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is not static; install the Debian package busybox-static", path)
		}
	}
	b, err := os.ReadFile(path) //nolint:gosec // found in PATH
	return string(b), err
}
