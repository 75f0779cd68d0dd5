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

// children are the main functions of this test binary when one of these variables is set. Such a process
// takes commands from its standard input, and ends at the end of it. A client in the process of the service
// would have to share its processors.
var children = map[string]func(argument string) error{
	"DBUSAPI_TEST_FLOOD":    floodMain,
	"DBUSAPI_TEST_REPORTER": reporterMain,
}

// childMain runs the main function of a child. It returns false if this process is none.
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

// serveCommands answers each line of the standard input.
func serveCommands(answer func(command string) (any, error)) error {
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

// child is the parent's end of a child process.
type child struct {
	commands io.Writer
	answers  *json.Decoder
}

// startChild starts a process that ends with the test. Its files begin with number 3.
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
		_ = in.Close() // ends the process
		if err := cmd.Wait(); err != nil {
			tb.Errorf("%s: %v", variable, err)
		}
	})
	return &child{in, json.NewDecoder(out)}
}

// command sends a command and waits for the answer.
func (c *child) command(tb testing.TB, command, answer any) {
	tb.Helper()
	if _, err := fmt.Fprintln(c.commands, command); err != nil {
		tb.Fatal(err)
	}
	if err := c.answers.Decode(answer); err != nil {
		tb.Fatalf("no answer to %v: %v", command, err)
	}
}
