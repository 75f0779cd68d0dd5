package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// completeTimeout limits a completion, because the user waits at the prompt. If the service does
// not answer, completion offers nothing.
const completeTimeout = 500 * time.Millisecond

// completer is cobra's type of completion functions.
type completer = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// known holds the service's lists, for completion.
type known struct {
	links      []hub.Interface
	containers []hub.Container
}

// fetchKnown reads the lists from the service. They are empty if it does not answer in time.
func (a *app) fetchKnown(cmd *cobra.Command) (k known) {
	ctx, cancel := completeContext(cmd)
	defer cancel()
	client, err := a.connect(ctx)
	if err != nil {
		return k
	}
	defer client.Close()
	k.links, _, _ = client.Interfaces(ctx, hub.Filter{})
	k.containers, _, _ = client.Containers(ctx, hub.Filter{})
	return k
}

// completeContext returns a context with completeTimeout.
func completeContext(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	return context.WithTimeout(parent, completeTimeout)
}

// targets returns the containers that begin with word, and interfaces if word has a slash, each with
// its state as the description.
func (k *known) targets(word string) []string {
	offered := map[string]string{}
	for _, c := range k.containers {
		k.offerTarget(offered, word, target{c.Pool, c.ID, ""}, c.Name, c.State)
	}
	for _, i := range k.links {
		k.offerTarget(offered, word, target{i.Pool, i.ID, ""}, i.ContainerName, "interfaces")
		if strings.Contains(word, "/") && i.Name != "" {
			k.offerTarget(offered, word, target{i.Pool, i.ID, i.Name}, i.ContainerName, string(i.State))
		}
	}
	return offerWords(offered, word)
}

// offerTarget offers a container by its name if it has one, and by its id if word begins with that.
func (k *known) offerTarget(offered map[string]string, word string, t target, name, description string) {
	byID := len(word) >= len(t.pool)+len(":")+minPrefix && strings.HasPrefix(t.String(), word)
	texts := []string{t.id}
	switch {
	case name != "" && byID:
		texts = append(texts, name)
	case name != "":
		texts[0] = name
	}
	for _, text := range texts {
		t.id = text
		if _, known := offered[t.String()]; !known && t.roundTrips() {
			offered[t.String()] = description
		}
	}
}

// roundTrips reports whether a target, given as an argument, is parsed as the same target. The name
// of a pod is.
func (t target) roundTrips() bool {
	parsed, err := parseTarget(t.String())
	return err == nil && (parsed == t || t.pool == podPool && parsed.String() == t.String())
}

// isShellSafe reports whether text is plain for every shell: no quote, expansion or flag, and no
// path of a program (as =x is in zsh). Completion offers only such text, because containers and
// reporters choose many of the names, and the shell puts them on the command line of a user who may
// be root.
func isShellSafe(text string) bool {
	return text != "" && text[0] != '-' && text[0] != '=' &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@%+,=/") == ""
}

// offerWords returns the safe names that begin with word, in order, with their safe descriptions.
func offerWords(names map[string]string, word string) []string {
	var list []string
	for name, description := range names {
		if !strings.HasPrefix(name, word) || !isShellSafe(name) {
			continue
		}
		if isShellSafe(description) {
			name += "\t" + description
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// filterPrefix returns the words that begin with typed.
func filterPrefix(words []string, typed string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, typed) })
}

// completeTargets completes POOL:ID and POOL:ID/INTERFACE.
func (a *app) completeTargets(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	k := a.fetchKnown(cmd)
	return k.targets(word), cobra.ShellCompDirectiveNoFileComp
}

// completeContainers completes POOL:ID.
func (a *app) completeContainers(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(word, "/") && !strings.HasPrefix(word, podPool+":") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeTargets(cmd, args, word)
}

// states returns the states of a container in osctld.
func states() []string {
	return []string{"staged", "starting", "running", "stopping", "stopped", "aborting", "freezing", "frozen", "thawed", "error"}
}

// linkStates returns the states of an interface.
func linkStates() []string {
	return []string{string(hub.LinkUp), string(hub.LinkNoCarrier), string(hub.LinkDown)}
}

// completeWait completes targets, and the states of the last target.
func (a *app) completeWait(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	flags := cmd.Flags()
	link, last := flags.Changed("name"), -1 // whether the last target is an interface, and its index
	for i, arg := range args {
		if strings.Contains(arg, ":") {
			link, last = strings.Contains(arg, "/"), i
		}
	}
	byFlags := flags.Changed("pool") || flags.Changed("id") || flags.Changed("name")
	if flags.Changed("type") || flags.Changed("action") || last < 0 && !byFlags {
		return a.completeTargets(cmd, args, word)
	}
	possible := states()
	if given := args[last+1:]; link && len(given) > 0 {
		possible = nil
	} else if link {
		possible = linkConditions()
	} else {
		possible = slices.DeleteFunc(possible, func(s string) bool { return slices.Contains(given, s) })
	}
	offered := filterPrefix(possible, word)
	if word != "" {
		others, _ := a.completeTargets(cmd, args, word)
		offered = append(offered, others...)
	}
	return offered, cobra.ShellCompDirectiveNoFileComp
}

// types returns the event types with a schema.
func types() []string {
	return []string{
		hub.TypeManagement, hub.TypeState, hub.TypeDB, hub.TypeNetif, hub.TypeInitPID, hub.TypeScheduled, hub.TypeExit,
		hub.TypeInfo, hub.TypeHealth, hub.TypeOOM, hub.TypeShutdown,
	}
}

// completeTypes completes comma-separated types: those with a schema, and those that the service has
// counted.
func (a *app) completeTypes(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	offered := map[string]string{}
	before := word[:strings.LastIndexByte(word, ',')+1]
	for _, typ := range types() {
		offered[before+typ] = ""
	}
	ctx, cancel := completeContext(cmd)
	defer cancel()
	if s, err := a.askStatus(ctx); err == nil {
		for name := range s.Counters {
			if typ, ok := strings.CutPrefix(name, eventPrefix); ok {
				offered[before+typ] = ""
			}
		}
	}
	return offerWords(offered, word), cobra.ShellCompDirectiveNoFileComp
}

// unquoteUsage removes the backquotes from the descriptions of flags, because cobra's completion
// offers them verbatim.
func unquoteUsage(cmd *cobra.Command) {
	unquote := func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) }
	cmd.PersistentFlags().VisitAll(unquote)
	cmd.LocalNonPersistentFlags().VisitAll(unquote)
	for _, c := range cmd.Commands() {
		unquoteUsage(c)
	}
}

// completeFlags registers completions for the values of a command's flags.
func (a *app) completeFlags(cmd *cobra.Command) {
	fixed := func(words ...string) completer {
		return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return filterPrefix(words, word), cobra.ShellCompDirectiveNoFileComp
		}
	}
	inState := states()
	if cmd.Flags().Lookup("veth") != nil {
		inState = linkStates()
	}
	for flag, complete := range map[string]completer{
		"type": a.completeTypes, "since": fixed(hub.CursorOldest, "today", "yesterday"), "until": fixed(),
		"action": fixed(append([]string{"up", "down", "rename", "add", "remove", "run", "done", "failed"}, states()...)...),
		"state":  fixed(inState...), "on-failure": fixed(onFailureStop, onFailureSkip),
		"source": fixed(hub.SourceNetlink, hub.SourceCgroup),
		"pool": a.completeFrom(func(k *known, offered map[string]string) {
			for _, c := range k.containers {
				offered[c.Pool] = ""
			}
			for _, i := range k.links {
				offered[i.Pool] = ""
			}
		}),
		"id": a.completeFrom(func(k *known, offered map[string]string) {
			for _, c := range k.containers {
				offered[c.ID] = c.State
			}
			for _, i := range k.links {
				offered[i.ID] = ""
			}
		}),
		"name": a.completeFrom(func(k *known, offered map[string]string) {
			for _, i := range k.links {
				offered[i.Name] = ""
			}
		}),
		"ct-name": a.completeFrom(func(k *known, offered map[string]string) {
			for _, c := range k.containers {
				offered[c.Name] = ""
			}
		}),
		"veth": a.completeFrom(func(k *known, offered map[string]string) {
			for _, i := range k.links {
				offered[i.Veth] = string(i.State)
			}
		}),
		"bus": fixed(client.BusSystem, client.BusSession),
	} {
		if cmd.Flags().Lookup(flag) != nil || cmd.PersistentFlags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails only for a missing flag
		}
	}
}

// completeFrom returns a completer that offers what add collects from the service's lists.
func (a *app) completeFrom(add func(*known, map[string]string)) completer {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		k, offered := a.fetchKnown(cmd), map[string]string{}
		add(&k, offered)
		delete(offered, "")
		return offerWords(offered, word), cobra.ShellCompDirectiveNoFileComp
	}
}
