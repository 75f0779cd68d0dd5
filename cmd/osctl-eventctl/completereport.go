package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/osctl/eventd/hub"
)

// reportOptions returns the options of an event type as arguments of report, with their known values.
// Types without a schema usually have a container.
func reportOptions(typ string) map[string][]string {
	options := map[string][]string{"pool=": nil, "id=": nil}
	switch typ {
	case hub.TypeManagement:
		return map[string][]string{"id=": nil, "id:=": nil, "cmd=": nil, "opts:=": nil, "state=": {"run", "done", "failed"}}
	case hub.TypeShutdown:
		return nil
	case hub.TypeState:
		options["state="], options["init_pid:="] = states(), nil
	case hub.TypeDB:
		options["object="], options["action="] = []string{"pool", "user", "group", "container"}, []string{"add", "remove"}
	case hub.TypeNetif:
		options["action="] = []string{"add", "remove", "rename", "up", "down"}
		options["name="], options["new_name="], options["veth="] = nil, nil, nil
	case hub.TypeInitPID:
		options["init_pid:="] = nil
	case hub.TypeScheduled:
		options["cpu_package_inuse:="] = nil
	case hub.TypeExit:
		options["exit_type="], options["exit_code:="] = nil, nil
	case hub.TypeInfo:
		options["name="], options["image="], options["labels:="] = nil, nil, nil
	case hub.TypeHealth:
		options["health="] = []string{"healthy", "unhealthy", "starting"}
	case hub.TypeOOM:
		options["action="], options["time:="] = nil, nil
	}
	return options
}

// completeReport completes the type, and then the options that are not given yet.
func (a *app) completeReport(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return filterPrefix(types(), word), cobra.ShellCompDirectiveNoFileComp
	}
	options, offered := reportOptions(args[0]), map[string]string{}
	if at := strings.IndexByte(word, '='); at >= 0 {
		for _, value := range options[word[:at+1]] {
			offered[word[:at+1]+value] = ""
		}
		if key := word[:at+1]; key == "pool=" || key == "id=" {
			for _, c := range a.fetchKnown(cmd).containers {
				offered["pool="+c.Pool], offered["id="+c.ID] = "", ""
			}
		}
		return offerWords(offered, word), cobra.ShellCompDirectiveNoFileComp
	}
	for option := range options {
		key := strings.TrimRight(option, ":=")
		given := func(arg string) bool { return strings.HasPrefix(arg, key+"=") || strings.HasPrefix(arg, key+":=") }
		if !slices.ContainsFunc(args[1:], given) {
			offered[option] = ""
		}
	}
	return offerWords(offered, word), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
