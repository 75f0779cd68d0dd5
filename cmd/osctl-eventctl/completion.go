package main

import (
	"errors"

	"github.com/spf13/cobra"
)

const completionLong = `Print a script for a shell that completes commands, flags, and what the service knows:
pools, ids, and names of interfaces. The packages install them. That for bash needs
bash-completion.`

// completion takes the place of cobra's command of that name.
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
			return beginning([]string{"bash", "zsh", "fish"}, word), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				switch root := cmd.Root(); args[0] {
				case "bash":
					return root.GenBashCompletionV2(a.out, true)
				case "zsh":
					return root.GenZshCompletion(a.out)
				case "fish":
					return root.GenFishCompletion(a.out, true)
				}
			}
			return errors.New("which shell? Expected bash, zsh or fish")
		},
	}
}
