package cttest

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// reaperScript removes the host with the cgroup $1, the directory $2 and cgroups mounted as $3
// says once its standard input ends. A cgroup is removed only when it and those below it are
// empty, and processes that were killed take a while: the kernel tells that nobody
// who is not in poll(2), so it asks again. Processes may hold mounts on the
// directory, so this comes last, and is bound to one file system: what is still
// mounted in this mount namespace is not the host's.
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
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // away from the terminal's signals
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

// reap lets it do its work, and waits for that.
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
