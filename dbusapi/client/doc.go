// Package client is the Go client of osctl-eventd, the service org.osctl.Eventd on a D-Bus
// message bus.
//
// # Follow events
//
// [Follow] passes every event to a function, until that returns an error or the context ends:
//
//	import (
//		"github.com/osctl/eventd/dbusapi/client"
//		"github.com/osctl/eventd/hub" // events, filters, values
//	)
//
//	address, err := client.ResolveAddress(client.BusSystem)
//	if err != nil {
//		return err
//	}
//	return client.Follow(ctx, client.Follower{Address: address}, func(u client.Update) error {
//		for _, e := range u.Events {
//			fmt.Println(e.Seq, e.Type, e.Pool, e.ID, e.Action, e.Options.Text("name"))
//		}
//		return nil
//	})
//
// Set the Filter of the [Follower] to get fewer events: hub.Filter{}.With("type",
// hub.TypeNetif) passes those of interfaces. To miss none between two runs, keep
// the Cursor of the last [Update] that you handled, and start from it the next time.
// [Watch] follows a list, of containers or of interfaces, together with its events, and
// [Await] waits for one container or one interface.
//
// # Report events
//
// [Dial] connects to a bus. A [Client] makes the calls of the interface:
//
//	c, err := client.Dial(ctx, address)
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	options := hub.Options{{Name: "pool", Value: hub.String("tank")}, {Name: "id", Value: hub.String("101")},
//		{Name: "state", Value: hub.String("running")}}
//	seq, err := c.Report(ctx, hub.TypeState, options)
//
// [Client.ReportBatch] reports up to 1,024 events, all or none, and [Batch] fills such calls.
// By default only root may report, and only root and the group osctl-eventd may read.
//
// # What it promises
//
//   - Follow passes each event of an epoch once, in the order of the numbers. While the handler works on one reply,
//     at most one call for the next events is pending.
//   - Follow and Watch survive restarts of the service and of the bus, and report them with Down
//     and Up. They report events that they could not get, and their number, with Gone and Lost.
//   - The Cursor of an Update covers the events of that Update and of those before it. The next
//     Update comes only after the handler returned.
//   - An event that was reported without an error is kept: a crash of the service does not
//     lose it.
//   - Every call ends with its context, even if the bus hangs. A bus that reads nothing for 10 s counts
//     as lost.
//   - Memory is bounded. The client reads only the bodies of replies to its pending calls, up to 32 MiB,
//     so no other peer on the bus can make it allocate memory.
//   - No goroutine outlives Follow, Watch, Await, or Close.
//
// Errors of the service and of the bus are [Error] values: tell them apart by name, with
// [HasName]. A batch with a bad event fails with an [InvalidEventError], which has its Index.
// [Explain] puts any error into words for a person.
//
// # Reading order
//
// client.go has the calls, conn.go carries them over one connection, and errors.go and batch.go
// complete reporting. follow.go is the loop that misses nothing, backoff.go its pauses after a failure, and
// gone.go handles lost events. watch.go adds lists to the loop, and await.go uses watch.go. explain.go
// stands alone.
package client
