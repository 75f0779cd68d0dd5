package dbusapi_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/osctl/eventd/dbusapi"
	"github.com/osctl/eventd/hub"
)

// A program that must not miss any event keeps the cursor, and goes on from it the
// next time. It keeps it after it has dealt with the events: then a crash in between
// makes it see some of them twice, and never too few.
func ExampleFollow() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	address, err := dbusapi.ResolveAddress(dbusapi.BusSystem)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	const file = "/var/lib/example/cursor"
	kept, _ := os.ReadFile(file) // none yet: from now on
	err = dbusapi.Follow(ctx, dbusapi.Follower{Address: address, Cursor: string(kept)}, func(u dbusapi.Update) error {
		if u.Gone != nil {
			fmt.Fprintln(os.Stderr, "events were lost:", u.Lost, u.Gone)
		}
		for _, event := range u.Events {
			fmt.Println(event.Type, event.Pool, event.ID)
		}
		if u.Cursor == "" {
			return nil
		}
		if err := os.WriteFile(file+".new", []byte(u.Cursor), 0o600); err != nil {
			return err
		}
		return os.Rename(file+".new", file)
	})
	fmt.Println(dbusapi.Explain(err, address))
}

// A program that wants to know the present state of all containers at any time makes
// it of the list and the events that follow.
func ExampleWatch() {
	address, err := dbusapi.ResolveAddress(dbusapi.BusSystem)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	events, err := hub.Filter{}.With("type", hub.TypeState, hub.TypeDB)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	type key struct{ pool, id string }
	state := map[key]string{}
	err = dbusapi.Watch(context.Background(), dbusapi.Watcher[hub.Container]{
		Address: address, List: (*dbusapi.Client).Containers, Events: events,
	}, func(w dbusapi.Watched[hub.Container]) error {
		if w.Listed { // at first, and whenever it cannot be told what happened meanwhile
			clear(state)
		}
		for _, row := range w.Rows {
			state[key{row.Pool, row.ID}] = row.State
		}
		for _, event := range w.Events {
			switch {
			case event.Type == hub.TypeState:
				state[key{event.Pool, event.ID}] = event.Action
			case event.Action == "remove" && event.Options.Text("object") == "container":
				delete(state, key{event.Pool, event.ID})
			}
		}
		fmt.Println(len(state), "containers")
		return nil
	})
	fmt.Println(dbusapi.Explain(err, address))
}
