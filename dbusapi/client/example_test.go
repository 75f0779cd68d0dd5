package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/osctl/eventd/dbusapi/client"
	"github.com/osctl/eventd/hub"
)

// A program that must not miss any event saves the cursor in a file, and continues from it at the next
// start. It writes the file after it handled the events, so after a crash in between it sees some events
// twice, and misses none.
func ExampleFollow() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	address, err := client.ResolveAddress(client.BusSystem)
	if err != nil {
		log.Print(err)
		return
	}
	const file = "/var/lib/example/cursor"
	kept, _ := os.ReadFile(file) // without a file, start from now
	err = client.Follow(ctx, client.Follower{Address: address, Cursor: string(kept)}, func(u client.Update) error {
		if u.Gone != nil {
			log.Printf("%d events were lost: %v", u.Lost, u.Gone)
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
	log.Print(client.Explain(err, client.BusSystem))
}

// This follows only the interfaces of one container.
func ExampleFollow_filter() {
	address, err := client.ResolveAddress(client.BusSystem)
	if err != nil {
		log.Print(err)
		return
	}
	filter, err := hub.Filter{}.With("type", hub.TypeNetif)
	if err == nil {
		filter, err = filter.With("id", "101")
	}
	if err != nil {
		log.Print(err)
		return
	}
	follower := client.Follower{Address: address, Filter: filter, Cursor: hub.CursorOldest}
	err = client.Follow(context.Background(), follower, func(u client.Update) error {
		for _, event := range u.Events {
			fmt.Println(event.Options.Text("name"), "is", event.Action)
		}
		return nil
	})
	log.Print(client.Explain(err, client.BusSystem))
}

// A program that needs the current state of all containers builds it from the list and the events after
// the list.
func ExampleWatch() {
	address, err := client.ResolveAddress(client.BusSystem)
	if err != nil {
		log.Print(err)
		return
	}
	events, err := hub.Filter{}.With("type", hub.TypeState, hub.TypeDB)
	if err != nil {
		log.Print(err)
		return
	}
	type key struct{ pool, id string }
	state := map[key]string{}
	err = client.Watch(context.Background(), client.Watcher[hub.Container]{
		Address: address, List: (*client.Client).Containers, Events: events,
	}, func(w client.Watched[hub.Container]) error {
		if w.Listed { // at the start, and after each interruption
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
	log.Print(client.Explain(err, client.BusSystem))
}

// This waits up to a minute until a container runs and its eth0 is usable.
func ExampleAwait() {
	address, err := client.ResolveAddress(client.BusSystem)
	if err != nil {
		log.Print(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	container := client.Await{Address: address, Pool: "tank", ID: "101"}
	state, err := container.State(ctx, "running", "aborting")
	if err == nil && state == "running" {
		err = container.Link(ctx, "eth0", true)
	}
	if err != nil {
		log.Print(client.Explain(err, client.BusSystem))
		return
	}
	fmt.Println("container 101 is", state)
}

// This reports that a container runs.
func ExampleClient_Report() {
	address, err := client.ResolveAddress(client.BusSystem)
	if err != nil {
		log.Print(err)
		return
	}
	ctx := context.Background()
	c, err := client.Dial(ctx, address)
	if err != nil {
		log.Print(client.Explain(err, client.BusSystem))
		return
	}
	defer c.Close()
	seq, err := c.Report(ctx, hub.TypeState, hub.Options{
		{Name: "pool", Value: hub.String("tank")},
		{Name: "id", Value: hub.String("101")},
		{Name: "state", Value: hub.String("running")},
	})
	if err != nil {
		log.Print(client.Explain(err, client.BusSystem))
		return
	}
	fmt.Println("reported event", seq)
}
