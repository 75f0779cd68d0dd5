package dbusapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// children are what this test binary is when one of these variables is set: a process
// that obeys its standard input, and ends when that does. A client in the process of the
// service would have to wait for its processors whenever the service is busy.
var children = map[string]func(argument string) error{
	"DBUSAPI_TEST_FLOOD":    floodMain,
	"DBUSAPI_TEST_REPORTER": reporterMain,
}

// childMain reports whether this process is such a one, and was it.
func childMain() bool {
	for variable, run := range children {
		argument := os.Getenv(variable)
		if argument == "" {
			continue
		}
		if err := run(argument); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", variable, err)
			os.Exit(1)
		}
		return true
	}
	return false
}

// obey answers each line of the standard input, until it ends.
func obey(answer func(command string) (any, error)) error {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		result, err := answer(in.Text())
		if err != nil {
			return err
		}
		if err := out.Encode(result); err != nil {
			return err
		}
	}
	return in.Err()
}

// child is the side of who started it.
type child struct {
	commands io.Writer
	answers  *json.Decoder
}

// startChild starts a process that is ended with the test. It gets the files from 3 on.
func startChild(tb testing.TB, variable, argument string, files ...*os.File) *child {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+argument)
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close() // it ends
		if err := cmd.Wait(); err != nil {
			tb.Errorf("%s: %v", variable, err)
		}
	})
	return &child{in, json.NewDecoder(out)}
}

// tell returns once the process has answered.
func (c *child) tell(tb testing.TB, command, answer any) {
	tb.Helper()
	if _, err := fmt.Fprintln(c.commands, command); err != nil {
		tb.Fatal(err)
	}
	if err := c.answers.Decode(answer); err != nil {
		tb.Fatalf("no answer to %v: %v", command, err)
	}
}
