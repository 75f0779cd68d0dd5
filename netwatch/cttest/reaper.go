package cttest

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// reaperScript removes the host with the cgroup $1, the directory $2 and the Cgroups $3 once
// its standard input ends. A cgroup can be removed only when it and those below it have no
// processes. Killed processes take a while, and a shell cannot wait for that with poll(2),
// so the script tries again and again. The directory is removed last, because processes may
// hold mounts on it, and only in its own file system, because other mounts below it are not
// the host's.
const reaperScript = `trap '' HUP INT TERM
read -r _
i=0
while [ -d "$1" ] && [ $i -lt 3000 ]; do
	echo 1 2>/dev/null >"$1/cgroup.kill"
	find "$1" -depth -type d -exec rmdir -- {} + 2>/dev/null
	[ -d "$1" ] || break
	sleep 0.02
	i=$((i + 1))
done
[ ! -d "$1" ] || echo "cannot remove $1:" $(cat "$1/cgroup.events" "$1"/*/cgroup.procs)
rm -rf --one-file-system -- "$2"
set -- "$3" "${1##*/}"
` + leaveScript

// reaper ends a host.
type reaper struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	output strings.Builder
}

func startReaper(cgroups Cgroups, cgroup, dir string) (*reaper, error) {
	r := &reaper{cmd: command("/bin/sh", "-c", reaperScript, "cttest-reaper", cgroup, dir, string(cgroups))}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signals of the terminal
	r.cmd.Stdout, r.cmd.Stderr = &r.output, &r.output
	r.cmd.WaitDelay = time.Second
	stdin, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r.stdin = stdin
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the reaper: %w", err)
	}
	return r, nil
}

// reap makes the reaper end the host, and waits for that.
func (r *reaper) reap() error {
	_ = r.stdin.Close()
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("reaper: %w: %s", err, r.output.String())
	}
	if out := strings.TrimSpace(r.output.String()); out != "" {
		return fmt.Errorf("reaper: %s", out)
	}
	return nil
}
