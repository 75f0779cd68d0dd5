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

// completeTimeout bounds the completion of a word, because the user waits at the prompt.
// If the service does not answer, there is nothing to offer and no error.
const completeTimeout = 500 * time.Millisecond

// completer is cobra's type of function that completes a word.
type completer = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// known is what the service knows, for completion.
type known struct {
	links      []hub.Interface
	containers []hub.Container
}

// ask asks the service what it knows; nothing if it does not answer in time.
func (a *app) ask(cmd *cobra.Command) (k known) {
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

// completeContext returns a context that ends when a completion has taken too long.
func completeContext(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	return context.WithTimeout(parent, completeTimeout)
}

// targets returns containers that begin with word, or interfaces of one where the word
// is past its container, each with what it is as a description.
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
	return offer(offered, word)
}

// offerTarget offers a container that has a name by its name, and by its id, too, where that is what
// is being typed.
func (k *known) offerTarget(offered map[string]string, word string, t target, name, description string) {
	byID := len(word) >= len(t.pool)+len(":")+shortest && strings.HasPrefix(t.String(), word)
	texts := []string{t.id}
	switch {
	case name != "" && byID:
		texts = append(texts, name)
	case name != "":
		texts[0] = name
	}
	for _, text := range texts {
		t.id = text
		if _, known := offered[t.String()]; !known && t.parses() {
			offered[t.String()] = description
		}
	}
}

// parses reports whether a target means the same when it is an argument. The name of a pod does.
func (t target) parses() bool {
	parsed, err := parseTarget(t.String())
	return err == nil && (parsed == t || t.pool == podPool && parsed.String() == t.String())
}

// safe reports whether a shell takes text for itself wherever it stands: not for a quote, an
// expansion, a flag, or (zsh) the path of a program. Completion offers nothing else, because
// the shell puts it on the command line of a user, maybe root, while containers and reporters
// choose many of the names.
func safe(text string) bool {
	return text != "" && text[0] != '-' && text[0] != '=' &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@%+,=/") == ""
}

// offer returns the names that begin with word and are safe, in order, with their
// descriptions where these are safe, too.
func offer(names map[string]string, word string) []string {
	var list []string
	for name, description := range names {
		if !strings.HasPrefix(name, word) || !safe(name) {
			continue
		}
		if safe(description) {
			name += "\t" + description
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// beginning returns the words that begin with the one that is being typed.
func beginning(words []string, typed string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, typed) })
}

// completeTargets completes POOL:ID and POOL:ID/INTERFACE.
func (a *app) completeTargets(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	k := a.ask(cmd)
	return k.targets(word), cobra.ShellCompDirectiveNoFileComp
}

// completeContainers completes POOL:ID.
func (a *app) completeContainers(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(word, "/") && !strings.HasPrefix(word, podPool+":") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeTargets(cmd, args, word)
}

// states are those of a container in osctld.
func states() []string {
	return []string{"staged", "starting", "running", "stopping", "stopped", "aborting", "freezing", "frozen", "thawed", "error"}
}

// linkStates are those of an interface.
func linkStates() []string {
	return []string{string(hub.LinkUp), string(hub.LinkNoCarrier), string(hub.LinkDown)}
}

// completeWait completes what to wait for, and then the states that it can be in.
func (a *app) completeWait(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	flags := cmd.Flags()
	link, last := flags.Changed("name"), -1 // of the last target, and where it is
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
		possible = linkWaits()
	} else {
		possible = slices.DeleteFunc(possible, func(s string) bool { return slices.Contains(given, s) })
	}
	offered := beginning(possible, word)
	if word != "" {
		others, _ := a.completeTargets(cmd, args, word)
		offered = append(offered, others...)
	}
	return offered, cobra.ShellCompDirectiveNoFileComp
}

// types are the event types that have a schema.
func types() []string {
	return []string{
		hub.TypeManagement, hub.TypeState, hub.TypeDB, hub.TypeNetif, hub.TypeInitPID, hub.TypeScheduled, hub.TypeExit,
		hub.TypeInfo, hub.TypeHealth, hub.TypeOOM, hub.TypeShutdown,
	}
}

// completeTypes completes types, separated by commas: those that have a schema, and those
// that the service counted since it started.
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
			if typ, ok := strings.CutPrefix(name, eventsOf); ok {
				offered[before+typ] = ""
			}
		}
	}
	return offer(offered, word), cobra.ShellCompDirectiveNoFileComp
}

// plainUsage takes the quotes off the names of values in the descriptions of flags, which
// cobra offers as they are where it is asked what may come next.
func plainUsage(cmd *cobra.Command) {
	unquote := func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) }
	cmd.PersistentFlags().VisitAll(unquote)
	cmd.LocalNonPersistentFlags().VisitAll(unquote)
	for _, c := range cmd.Commands() {
		plainUsage(c)
	}
}

// completeFlags completes the values of those flags that a command has.
func (a *app) completeFlags(cmd *cobra.Command) {
	fixed := func(words ...string) completer {
		return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return beginning(words, word), cobra.ShellCompDirectiveNoFileComp
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
			_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails for a flag that is not there
		}
	}
}

// completeFrom completes from what the service knows.
func (a *app) completeFrom(add func(*known, map[string]string)) completer {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		k, offered := a.ask(cmd), map[string]string{}
		add(&k, offered)
		delete(offered, "")
		return offer(offered, word), cobra.ShellCompDirectiveNoFileComp
	}
}
