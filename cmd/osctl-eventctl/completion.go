package main

import (
	_ "embed"
	"errors"

	"github.com/spf13/cobra"
)

// Cobra's own scripts would evaluate the words on the command line.
var (
	//go:embed completion/osctl-eventctl.bash
	bashScript string
	//go:embed completion/osctl-eventctl.zsh
	zshScript string
	//go:embed completion/osctl-eventctl.fish
	fishScript string
)

const completionLong = `Print a completion script for a shell. It completes commands, flags, pools,
ids, and names of containers and interfaces. The packages install the scripts.
The one for bash needs bash-completion.

Containers choose the names of their interfaces, and a shell must not execute
them. So the script offers only names that consist of letters, digits and
-_.:@%+,=/ and do not begin with - or =. Type any other name in single quotes.`

// completion replaces cobra's command of that name.
func (a *app) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script for a shell",
		Long:  completionLong,
		Example: `  osctl-eventctl completion bash >/etc/bash_completion.d/osctl-eventctl
  osctl-eventctl completion zsh >"${fpath[1]}/_osctl-eventctl"
  osctl-eventctl completion fish >~/.config/fish/completions/osctl-eventctl.fish`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return filterPrefix([]string{"bash", "zsh", "fish"}, word), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				script, ok := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[args[0]]
				if ok {
					_, err := a.out.Write([]byte(script))
					return err
				}
			}
			return errors.New("which shell? Expected bash, zsh or fish")
		},
	}
}
